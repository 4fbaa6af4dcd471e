package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

const (
	maxBody      = 1 << 20 // bytes of a body that are returned
	maxErrorBody = 500     // bytes of a refusal's body that are returned
	maxRedirects = 5
	// fetchTimeout bounds a call whose context has no deadline of its own.
	fetchTimeout = 30 * time.Second
)

// fetcher is the tool http_get.
type fetcher struct {
	allow  allowList
	client *http.Client
}

func newFetcher(hosts []string) (*fetcher, error) {
	allow, err := newAllowList(hosts)
	if err != nil {
		return nil, err
	}
	f := &fetcher{allow: allow}
	f.client = &http.Client{Transport: transport(allow.dial, nil), CheckRedirect: f.redirect}
	return f, nil
}

// Spec implements [Tool].
func (f *fetcher) Spec() events.ToolSpec {
	return events.ToolSpec{
		Name: "http_get",
		Description: "Fetches a web address with GET and returns status, type and text of the body (text, HTML, JSON or XML, at most 1 MB). " +
			"Only some hosts are allowed: " + f.allow.String() + ".",
		Schema: json.RawMessage(`{
			"type": "object",
			"properties": {
				"url": {"type": "string", "pattern": "^https?://", "maxLength": 4000, "description": "the whole address, with http:// or https://"}
			},
			"required": ["url"],
			"additionalProperties": false
		}`),
		Effect:    events.EffectPure,
		TimeoutMS: fetchTimeout.Milliseconds(),
	}
}

// Run implements [Tool].
func (f *fetcher) Run(ctx context.Context, in Input) (Result, error) {
	var args struct {
		URL string `json:"url"`
	}
	if err := in.Decode(&args); err != nil {
		return Result{}, err
	}
	u, err := url.Parse(args.URL)
	if err != nil {
		return Result{}, Fail("%.200q is not a web address: give a whole one, such as https://example.com/page", args.URL)
	}
	if err := f.allow.check(u); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Result{}, Fail("cannot request %s: %v", u.Redacted(), err)
	}
	req.Header.Set("User-Agent", "parley-http_get")
	req.Header.Set("Accept", "text/*, application/json, application/xml, */*;q=0.1")
	resp, err := f.client.Do(req)
	if err != nil {
		return Result{}, failed(ctx, u, err)
	}
	defer resp.Body.Close()
	in.Print("HTTP %s from %s\n", resp.Status, resp.Request.URL.Redacted())
	return read(ctx, resp)
}

// failed classifies the errors of a request: refused by Parley, ended by ctx,
// or retryable.
func failed(ctx context.Context, u *url.URL, err error) error {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if ctx.Err() != nil {
		return fmt.Errorf("request to %s: %w", u.Host, context.Cause(ctx))
	}
	return Retry(fmt.Errorf("request to %s failed: %w", u.Host, err), 0)
}

func read(ctx context.Context, resp *http.Response) (Result, error) {
	from := resp.Request.URL
	limit := int64(maxBody)
	if resp.StatusCode/100 != 2 {
		limit = maxErrorBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Result{}, failed(ctx, from, err)
	}
	cut := int64(len(body)) > limit
	if cut {
		body = body[:limit]
	}
	kind := resp.Header.Get("Content-Type")
	if kind == "" {
		kind = http.DetectContentType(body)
	}
	text := strings.ToValidUTF8(string(body), "\uFFFD")
	if resp.StatusCode/100 != 2 {
		if !textual(kind) {
			text = "(" + kind + ")"
		}
		refused := Fail("%s answered HTTP %s: %s", from.Redacted(), resp.Status, text)
		switch resp.StatusCode {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil || seconds < 0 || seconds > 3600 {
				seconds = 0
			}
			return Result{}, Retry(refused, time.Duration(seconds)*time.Second)
		}
		return Result{}, refused
	}
	if !textual(kind) {
		return Result{}, Fail("%s is %s, not text: http_get reads text, HTML, JSON and XML", from.Redacted(), kind)
	}
	content := fmt.Sprintf("HTTP %s, %s, from %s\n\n%s", resp.Status, kind, from.Redacted(), text)
	if cut {
		content += fmt.Sprintf("\n\n(truncated: only the first %d bytes are shown)", maxBody)
	}
	return Result{Content: content}, nil
}

func textual(kind string) bool {
	media, _, err := mime.ParseMediaType(kind)
	if err != nil {
		media, _, _ = strings.Cut(kind, ";")
		media = strings.ToLower(strings.TrimSpace(media))
	}
	switch media {
	case "application/json", "application/xml", "application/javascript", "application/x-ndjson", "application/yaml", "application/toml":
		return true
	}
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+json") || strings.HasSuffix(media, "+xml")
}

func (f *fetcher) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return Fail("%s redirects more than %d times", via[0].URL.Redacted(), maxRedirects)
	}
	if err := f.allow.check(req.URL); err != nil {
		return Fail("%s redirects to %.300s: %v", via[len(via)-1].URL.Redacted(), req.URL.Redacted(), err)
	}
	return nil
}
