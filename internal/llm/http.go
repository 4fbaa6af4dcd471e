package llm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/secret"
)

// maxRefusal bounds the part of a refusal's body that is read, in bytes.
const maxRefusal = 1 << 20

// maxRedirects bounds the redirects of a request.
const maxRedirects = 5

// NewStream returns the stream of one request: each iteration calls send for a
// body, decodes it, and closes it however the stream ends.
func NewStream(send func() (io.ReadCloser, *events.Error), decode Decoder) Stream {
	return func(yield func(events.Event, error) bool) {
		body, failed := send()
		if failed != nil {
			NewWriter(yield).End(events.GenerationEnded{Error: failed})
			return
		}
		// The answer was read or abandoned; a failure to close loses nothing.
		defer func() { _ = body.Close() }()
		decode(body)(yield)
	}
}

// Post sends a JSON body, with the header in addition to its Content-Type, and
// returns the body of the answer as [Accept] does. ctx applies until the end of
// that body.
func Post(ctx context.Context, client *http.Client, to string, header http.Header, body []byte) (io.ReadCloser, *events.Error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the text of u has the whole URL
		}
		return nil, &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the URL of the provider is not usable: %v: correct its base URL", err)}
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

// Accept returns the body of an answer to a request made with ctx; the caller
// closes it. It returns an error if the status is not 2xx or the content is an
// HTML page. Servers label streams and JSON loosely, so the decoder checks all
// other content.
//
// Errors of reading the body are [events.Error]s with the reason of a
// cancellation. The body of a cancelled request never ends with io.EOF,
// although some transports report that.
func Accept(ctx context.Context, res *http.Response) (io.ReadCloser, *events.Error) {
	body := answerBody{ctx, res.Body}
	if res.StatusCode >= 200 && res.StatusCode < 300 && !isPage(res.Header) {
		return body, nil
	}
	said, err := io.ReadAll(io.LimitReader(body, maxRefusal))
	_ = body.Close() // the part that could be read is the refusal
	if err != nil && ctx.Err() != nil {
		return nil, FromRead(ctx, err)
	}
	e := FromHTTP(res.StatusCode, res.Header, said)
	if to, err := res.Location(); err == nil && res.StatusCode < 400 {
		e.Message = fmt.Sprintf("HTTP %d: the provider redirects to %s://%s, and the request was not sent there: correct the base URL if that host is trusted", res.StatusCode, to.Scheme, to.Host)
	}
	if wrongURL(res) && !strings.Contains(strings.ToLower(e.Message), "model") { // a model that does not exist is no fault of the URL
		e.Message += "; the URL asked is " + secret.URL(res.Request.URL.String())
	}
	if id := cmp.Or(res.Header.Get("Request-Id"), res.Header.Get("X-Request-Id")); id != "" {
		e.Message += " (request " + id + ")"
	}
	return nil, e
}

// wrongURL reports whether an answer may come from another place than the provider's
// endpoint.
func wrongURL(res *http.Response) bool {
	if res.Request == nil {
		return false
	}
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return true
	}
	return isPage(res.Header)
}

// Client returns a client that does not follow redirects to another origin: the
// request has the key and the conversation, and only Authorization is removed by
// net/http. Such a redirect is the answer. A nil client is [http.DefaultClient].
func Client(c *http.Client) *http.Client {
	own := *cmp.Or(c, http.DefaultClient)
	own.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if from := via[0].URL; r.URL.Scheme != from.Scheme || r.URL.Host != from.Host || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &own
}

// BoundRefusals bounds the bodies of refusals, for a library that reads them in
// full.
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

// CheckBaseURL returns the error in a provider's base URL, for libraries whose
// error looks like that of a broken network.
func CheckBaseURL(provider, base string) *events.Error {
	if u, err := url.Parse(base); err != nil || u.Host == "" {
		return &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the base URL %q of provider %s is not a URL like https://host/v1: correct the configuration", secret.URL(base), provider)}
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

// FirstByte returns the first byte of a body that is not blank, and leaves it unread: it
// shows the format. An event stream starts with a field's name, a colon or a byte order
// mark.
func FirstByte(br *bufio.Reader) (byte, error) {
	for {
		b, err := br.ReadByte()
		if err != nil {
			return 0, err
		}
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return b, br.UnreadByte()
	}
}

// pageHead is the number of bytes of a web page that are searched for its title.
const pageHead = 4096

// FromPage returns the error of a body that is a web page.
func FromPage(br *bufio.Reader) *events.Error {
	page, _ := br.Peek(pageHead) // a shorter page is complete
	return FromPayload(page)
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

// IsOpenAI reports whether a base URL is OpenAI's own, or that of Azure's copy: other
// hosts refuse some of its parameters.
func IsOpenAI(baseURL string) bool {
	u, err := url.Parse(baseURL)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}

// BaseURL returns a base URL as people copy it from documentation, without slashes at
// its end and without the path of an endpoint, such as "/chat/completions". A query
// stays.
func BaseURL(given string, endpoints ...string) string {
	path, query, hasQuery := strings.Cut(strings.TrimSpace(given), "?")
	for again := true; again; {
		again = false
		path = strings.TrimRight(path, "/")
		for _, e := range endpoints {
			if rest, found := strings.CutSuffix(path, e); found && !strings.HasSuffix(rest, ":/") {
				path, again = rest, true
			}
		}
	}
	if hasQuery {
		return path + "?" + query
	}
	return path
}
