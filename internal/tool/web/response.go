package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	maxRefusal = 2000      // bytes of a refusal's body in the error
	maxWait    = time.Hour // bound of a service's Retry-After
)

// read converts a response to a result.
func (e *endpoint) read(ctx context.Context, resp *http.Response) (tool.Result, error) {
	limit := e.limit
	if resp.StatusCode/100 != 2 {
		limit = maxRefusal
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return tool.Result{}, e.failed(ctx, resp.Request.URL, err)
	}
	from := place(resp.Request.URL)
	if resp.StatusCode/100 != 2 {
		return tool.Result{}, e.refused(resp, body)
	}
	if int64(len(body)) > limit {
		return tool.Result{}, tool.End(events.StatusTooLarge, "%s answered more than %d bytes: request less. The operator of the tool worker can raise result_bytes", from, limit)
	}
	text := strings.ToValidUTF8(string(body), "\uFFFD")
	switch {
	case e.json:
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(text)); err != nil {
			return tool.Result{}, tool.Fail("%s answered HTTP %s, and not one JSON value: %v. It answered: %s", from, resp.Status, err, short(body, 300))
		}
		return tool.Result{Content: b.String(), Structured: b.Bytes()}, nil
	case strings.TrimSpace(text) == "":
		return tool.Result{Content: fmt.Sprintf("(HTTP %s: the answer is empty)", resp.Status)}, nil
	case bytes.IndexByte(body, 0) >= 0:
		return tool.Result{}, tool.Fail("%s answered %.100s, not text", from, resp.Header.Get("Content-Type"))
	}
	return tool.Result{Content: text}, nil
}

// refused returns the error of a status other than 2xx.
func (e *endpoint) refused(resp *http.Response, body []byte) error {
	from := place(resp.Request.URL)
	if resp.StatusCode/100 == 3 {
		to := "nowhere"
		if u, err := resp.Location(); err == nil {
			to = place(u)
		}
		return tool.Fail("%s answered HTTP %s and redirects to %.200s: redirects are not followed. The operator of the tool worker can set redirects: true", from, resp.Status, to)
	}
	refused := tool.Fail("%s answered HTTP %s: %s", from, resp.Status, short(body, maxRefusal))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		if e.repeating {
			return tool.Retry(refused, wait(resp.Header.Get("Retry-After"), time.Now()))
		}
	}
	return refused
}

// wait parses Retry-After: seconds or a date. It returns 0 for an invalid value
// and for more than an hour.
func wait(after string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(after); err == nil && seconds >= 0 && seconds <= int(maxWait.Seconds()) {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		d = at.Sub(now)
	}
	if d < 0 || d > maxWait {
		return 0
	}
	return d
}

// short returns the start of a body, as one line of text.
func short(body []byte, limit int) string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), limit)]), "\uFFFD"))
	switch {
	case text == "":
		return "(nothing)"
	case strings.ContainsRune(text, 0):
		return "(binary data)"
	case len(body) > limit:
		return text + "…"
	}
	return text
}
