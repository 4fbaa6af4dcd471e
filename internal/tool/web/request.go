package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/tool"
)

// idempotencyKey is the header with the id of the call, so that a service can
// recognize a retry. Source: draft-ietf-httpapi-idempotency-key-header
const idempotencyKey = "Idempotency-Key"

// Run implements [tool.Tool].
func (e *endpoint) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	args, err := in.Object()
	if err != nil {
		return tool.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(e.spec.TimeoutMS)*time.Millisecond)
	defer cancel()
	req, err := e.request(ctx, args, in.Call)
	if err != nil {
		return tool.Result{}, err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return tool.Result{}, e.failed(ctx, req.URL, err)
	}
	defer resp.Body.Close()
	in.Print("HTTP %s from %s\n", resp.Status, place(resp.Request.URL))
	return e.read(ctx, resp)
}

// request builds the request of one call.
func (e *endpoint) request(ctx context.Context, args map[string]any, call string) (*http.Request, error) {
	u, err := e.template.Expand(args)
	if err == nil {
		u, err = e.query(u, args)
	}
	if err != nil {
		return nil, err
	}
	body, err := e.body(args)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, e.method, u.String(), body)
	if err != nil {
		return nil, tool.Fail("no request can be made for %s: %v", place(u), err)
	}
	req.Header.Set("User-Agent", "parley")
	if e.json {
		req.Header.Set("Accept", "application/json")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if e.method != http.MethodGet && e.method != http.MethodHead && call != "" && headerText(call) {
		req.Header.Set(idempotencyKey, call)
	}
	for name, v := range e.config.Headers {
		texts, err := v.texts(args)
		if err != nil {
			return nil, err
		}
		req.Header.Del(name)
		for _, text := range texts {
			if !headerText(text) {
				return nil, tool.Fail("arguments.%s goes into the header %s: give one line of ASCII without control characters", v.Arg, name)
			}
			req.Header.Add(name, text)
		}
	}
	return req, nil
}

// texts returns the texts of a value in a call.
func (v Value) texts(args map[string]any) ([]string, error) {
	if v.Arg == "" {
		return []string{v.Text}, nil
	}
	return tool.Texts(args[v.Arg])
}

// query adds the query parameters of the description.
func (e *endpoint) query(u *url.URL, args map[string]any) (*url.URL, error) {
	text := u.String()
	for _, name := range slices.Sorted(maps.Keys(e.config.Query)) {
		texts, err := e.config.Query[name].texts(args)
		if err != nil {
			return nil, err
		}
		for _, one := range texts {
			text += joint(text) + escape(name) + "=" + escape(one)
			if len(text) > maxURL {
				break // refused below
			}
		}
	}
	return e.template.whole(text)
}

// body returns the JSON to send; nil for none.
func (e *endpoint) body(args map[string]any) (io.Reader, error) {
	send := args
	if !e.config.Body.Whole {
		if len(e.config.Body.Fields) == 0 {
			return nil, nil
		}
		send = map[string]any{}
		for _, name := range e.config.Body.Fields {
			if v, ok := args[name]; ok {
				send[name] = v
			}
		}
	}
	raw, err := tool.JSON(send)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(raw), nil
}

// failed classifies the errors of a request: refused by Parley, ended by ctx,
// retryable, or not.
func (e *endpoint) failed(ctx context.Context, u *url.URL, err error) error {
	ours, err := failure(err)
	var unsure string
	dial, dialling := errors.AsType[*net.OpError](err)
	switch _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); {
	case ours != nil:
		return ours
	case untrusted:
		return tool.Fail("no request was sent to %s, because its certificate is not trusted: %v", u.Host, err)
	case dialling && dial.Op == "dial":
	case !e.repeating:
		unsure = "; it is not known whether it took effect there"
	}
	if ctx.Err() != nil {
		return fmt.Errorf("request to %s: %w%s", u.Host, ctx.Err(), unsure)
	}
	err = fmt.Errorf("request to %s failed: %w%s", u.Host, err, unsure)
	if !e.repeating {
		return tool.Fail("%v", err)
	}
	return tool.Retry(err, 0)
}
