package mcp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxRefusal bounds what is read of a refusal, in bytes.
const maxRefusal = 8 << 10

// refusedError reports that a server refuses access. It lasts until a person
// changes the credentials, so nothing waits for it.
type refusedError struct {
	status int
	words  string // the server's
	advice string // what to do; "" for the headers
}

// Error implements error.
func (r *refusedError) Error() string {
	text := fmt.Sprintf("it refuses access (HTTP %d %s)", r.status, http.StatusText(r.status))
	if r.words != "" {
		text += ": " + r.words
	}
	return text + ": " + cmp.Or(r.advice, "correct the credentials in its headers")
}

// refusalOf returns the refusal of an answer; nil if it is none. What it reads of
// the body can be read again.
func refusalOf(resp *http.Response) *refusedError {
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return nil
	}
	// Of a body that breaks off, the beginning is reported.
	head, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body = &replayed{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	words := messageOf(head)
	if words == "" {
		words = resp.Header.Get("WWW-Authenticate")
	}
	return &refusedError{status: resp.StatusCode, words: clip(strings.Join(strings.Fields(words), " "), maxProblem)}
}

type replayed struct {
	io.Reader
	io.Closer
}

// messageOf returns the text of an error's body: that of its JSON, or the body itself
// unless it is a page.
func messageOf(body []byte) string {
	var form struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
		Message     string          `json:"message"`
		Detail      string          `json:"detail"`
	}
	if json.Unmarshal(body, &form) != nil {
		if text := string(body); !strings.Contains(text, "<") {
			return text
		}
		return ""
	}
	var inner struct {
		Message string `json:"message"`
	}
	var word string
	_ = json.Unmarshal(form.Error, &inner) // either form may be absent
	_ = json.Unmarshal(form.Error, &word)
	var all []string
	for _, text := range []string{word, inner.Message, form.Message, form.Description, form.Detail} {
		if text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, ": ")
}

// refused returns the server's refusal in place of the error that followed from
// it.
func (s *session) refused(err error) error {
	if err == nil || s.http == nil {
		return err
	}
	if r := s.http.refusal.Load(); r != nil {
		return r
	}
	return err
}
