package llm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/parleybus/parley/internal/events"
)

// maxRefusal bounds what is read of an answer that is a refusal, in bytes.
const maxRefusal = 1 << 20

// Ask is the stream of one request: each time it is read, send asks for a body,
// which decode reads and which is closed however the stream ends.
func Ask(send func() (io.ReadCloser, *events.Error), decode Decoder) Stream {
	return func(yield func(events.Event, error) bool) {
		body, failed := send()
		if failed != nil {
			NewWriter(yield).End(events.GenerationEnded{Error: failed})
			return
		}
		// The answer is read or given up; a failure to close loses nothing.
		defer func() { _ = body.Close() }()
		decode(body)(yield)
	}
}

// Post sends a body of JSON, with the header besides its Content-Type, and
// returns the body of the answer as [Accept] does. It follows ctx to the end of
// that body.
func Post(ctx context.Context, client *http.Client, to string, header http.Header, body []byte) (io.ReadCloser, *events.Error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the URL of the provider cannot be asked: %v: correct its base URL", err)}
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return nil, FromRead(ctx, err)
	}
	return Accept(ctx, res)
}

// Accept returns the body of an answer to a request made under ctx, to be closed
// by the caller, or the error that stands in place of one: the status is not 2xx
// or the content is a page for people. Servers label streams and JSON loosely;
// what else the content is, is for the decoder to see.
//
// Errors of reading the body are [events.Error]s that know why the request was
// cancelled. The body of a cancelled request has no end in order, which some
// transports give it.
func Accept(ctx context.Context, res *http.Response) (io.ReadCloser, *events.Error) {
	body := answerBody{ctx, res.Body}
	if res.StatusCode >= 200 && res.StatusCode < 300 && !isPage(res.Header) {
		return body, nil
	}
	said, err := io.ReadAll(io.LimitReader(body, maxRefusal))
	_ = body.Close() // what could be read of a refusal is the refusal
	if err != nil && ctx.Err() != nil {
		return nil, FromRead(ctx, err)
	}
	e := FromHTTP(res.StatusCode, res.Header, said)
	if id := cmp.Or(res.Header.Get("Request-Id"), res.Header.Get("X-Request-Id")); id != "" {
		e.Message += " (request " + id + ")"
	}
	return nil, e
}

// BoundRefusals stands between a library that reads refusals whole and the
// network, to keep it from reading without end.
func BoundRefusals(req *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	res, err := next(req)
	if err == nil && res.StatusCode >= 300 {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxRefusal), res.Body}
	}
	return res, err
}

// CheckBaseURL says what is wrong with a provider's base URL, for libraries
// whose words for it look like those of a broken network.
func CheckBaseURL(provider, base string) *events.Error {
	if u, err := url.Parse(base); err != nil || u.Host == "" {
		return &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the base URL %q of provider %s is not a URL like https://host/v1: correct the configuration", base, provider)}
	}
	return nil
}

func isPage(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return false
	}
	switch kind {
	case "text/html", "application/xhtml+xml", "application/xml", "text/xml":
		return true
	}
	return false
}

type answerBody struct {
	ctx context.Context
	io.ReadCloser
}

// Read implements [io.Reader].
func (b answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && (!errors.Is(err, io.EOF) || b.ctx.Err() != nil) {
		err = FromRead(b.ctx, err)
	}
	return n, err
}
