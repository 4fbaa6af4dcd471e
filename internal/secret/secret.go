// Package secret removes configured secrets from texts: keys of providers, tokens
// and passwords of NATS, headers and variables of tools, and passwords in URLs.
//
// A [Set] knows the values. It finds each as it is, and as base64, hex, JSON and
// percent-encoding have it, also with something before and after it. Whatever leaves
// the process as an event, a log line, an error or a dead letter goes through the
// set where it leaves.
package secret

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
)

// Marker takes the place of a secret.
const Marker = "[redacted]"

// MinLength is the length in bytes from which a value is found in any text. A
// shorter one, such as "test", occurs in texts that have nothing to do with it: to
// remove it there would damage them and tell whoever reads them what the value is.
const MinLength = 8

// Set is the secrets of a process. A nil Set has none. It is safe for concurrent
// use.
type Set struct {
	mu     sync.RWMutex
	known  map[string]bool
	finder *finder // nil while there are none
}

// Add adds values; those that are shorter than [MinLength] are ignored. A nil set
// stays empty.
func (s *Set) Add(values ...string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	added := false
	for _, v := range values {
		if v = strings.TrimSpace(v); len(v) >= MinLength && !s.known[v] {
			if s.known == nil {
				s.known = map[string]bool{}
			}
			s.known[v], added = true, true
		}
	}
	if added {
		var all []string
		for v := range s.known {
			all = append(all, forms(v)...)
		}
		s.finder = newFinder(all)
	}
}

// AddHeader adds what is secret in the value of a header: the value, and what
// follows a scheme such as Bearer.
func (s *Set) AddHeader(value string) {
	s.Add(value)
	if _, rest, found := strings.Cut(value, " "); found {
		s.Add(rest)
	}
}

// AddURL adds the passwords in a URL, or in a list of them.
func (s *Set) AddURL(urls string) { s.Add(passwords(urls)...) }

func (s *Set) current() *finder {
	if s == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.finder
}

// Redact returns a text without the secrets of the set.
func (s *Set) Redact(text string) string {
	f := s.current()
	if f == nil {
		return text
	}
	return f.redact(text)
}

// RedactBytes returns data without the secrets of the set: data itself if it has
// none.
func (s *Set) RedactBytes(data []byte) []byte {
	f := s.current()
	if f == nil || !f.finds(data) {
		return data
	}
	return []byte(f.redact(string(data)))
}

// RedactJSON is [Set.RedactBytes] for a JSON value. The result is a JSON value too:
// the marker as a string, where a secret was no part of one.
func (s *Set) RedactJSON(data json.RawMessage) json.RawMessage {
	clean := s.RedactBytes(data)
	if len(clean) > 0 && !json.Valid(clean) && json.Valid(data) {
		return json.RawMessage(`"` + Marker + `"`)
	}
	return clean
}

// Message is [Set.Redact] for an error or a log line, which it also returns without
// the passwords in URLs that the set does not know.
func (s *Set) Message(text string) string { return withoutPasswords(s.Redact(text)) }

// Error returns an error with the text that [Set.Message] returns. It wraps err.
func (s *Set) Error(err error) error {
	if err == nil {
		return nil
	}
	text := s.Message(err.Error())
	if text == err.Error() {
		return err
	}
	return &redacted{text, err}
}

// redacted is an error with another text.
type redacted struct {
	text string
	err  error
}

// Error implements error.
func (r *redacted) Error() string { return r.text }

// Is and As find what is in the error itself. There is no Unwrap, so that no caller
// prints what was wrapped by accident.
func (r *redacted) Is(target error) bool { return errors.Is(r.err, target) }

// As implements the interface of [errors.As].
func (r *redacted) As(target any) bool { return errors.As(r.err, target) }
