package web

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/tool"
)

// maxURL bounds an address with its values, in bytes.
const maxURL = 16 << 10

// Template is an address with places for values in its path and query:
// {name} and {a,b} for a value or several with commas between, {?a,b} for a
// query ?a=…&b=…, and {&a,b} for more of one. It is a part of RFC 6570 and does
// what that says, but that in a path a value must be there, must not be empty,
// and must not climb ("..").
//
// All but letters, digits and -._~ is escaped, so a value stays in its place.
type Template struct {
	base  *url.URL // with every place empty
	parts []part
}

// part is a text, or values in its place.
type part struct {
	text  string
	names []string
	form  bool // name=value
	query bool // whether it is in the query
}

// NewTemplate reads a template. Places are in path and query only.
func NewTemplate(text string) (*Template, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("the address has more than %d bytes", maxURL)
	}
	t := &Template{}
	var plain strings.Builder // with x for each place
	query := false
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.ContainsAny(literal, "}#") || strings.ContainsFunc(literal, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`|", r) }) {
			return nil, fmt.Errorf("the address holds a character that is not allowed there (}, #, a space, or one to be escaped): near %.100q", literal)
		}
		plain.WriteString(literal)
		query = query || strings.Contains(literal, "?")
		t.parts = append(t.parts, part{text: literal})
		rest = after
		if !found {
			break
		}
		inner, behind, closed := strings.Cut(after, "}")
		if !closed {
			return nil, errors.New("a { is never closed")
		}
		p, err := place6570(inner, query)
		if err != nil {
			return nil, err
		}
		if _, path, ok := strings.Cut(plain.String(), "://"); !p.form && (!ok || !strings.ContainsAny(path, "/?")) {
			return nil, fmt.Errorf("{%s} is before the path: a value must not choose the host", inner)
		}
		if !p.form {
			plain.WriteString("x")
		} else if !query {
			plain.WriteString("?")
		}
		query = p.query
		t.parts = append(t.parts, p)
		rest = behind
	}
	var err error
	t.base, err = checked(plain.String())
	return t, err
}

// place6570 parses the text between { and }.
func place6570(inner string, query bool) (part, error) {
	p := part{query: query}
	list := inner
	if list != "" && (list[0] == '?' || list[0] == '&') {
		if (list[0] == '?') == query {
			return p, fmt.Errorf("{%s}: {?…} begins a query, {&…} continues one", inner)
		}
		p.form, p.query, list = true, true, list[1:]
	}
	name := regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	for n := range strings.SplitSeq(list, ",") {
		if !name.MatchString(n) {
			return p, fmt.Errorf("{%.100s}: write {name}, {a,b}, {?a,b} or {&a,b} with names of letters, digits, _, . and -", inner)
		}
		p.names = append(p.names, n)
	}
	return p, nil
}

// checked parses an address and refuses what none may hold.
func checked(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("the address cannot be parsed: give one such as https://example.com/items/{id}")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the scheme is %q: only http and https are allowed", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("the address names no host: give one such as https://example.com/items/{id}")
	case u.User != nil:
		return nil, errors.New("the address holds a user name or password: give a header Authorization with ${NAME} instead")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || n == 0) {
		return nil, errors.New("the port must be a number from 1 to 65535")
	}
	if climbs(u.Path) {
		return nil, errors.New("the path holds . or .. as a name: write the path that is meant")
	}
	return u, nil
}

// climbs reports whether a path, not escaped, has . or .. as a name.
func climbs(path string) bool {
	for name := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if name == "." || name == ".." {
			return true
		}
	}
	return false
}

// Expand puts values in their places.
func (t *Template) Expand(args map[string]any) (*url.URL, error) {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
		var all []string
		for _, name := range p.names {
			texts, err := tool.Texts(args[name])
			if err != nil {
				return nil, err
			}
			if !p.query && (len(texts) == 0 || len(texts) == 1 && texts[0] == "") {
				return nil, tool.Fail("arguments.%s must not be empty: it is a part of the address", name)
			}
			for i, text := range texts {
				// Some servers look for .. after they have unescaped a path.
				if !p.query && climbs(text) {
					return nil, tool.Fail("arguments.%s is %.200q: give a name without . and .. as a part", name, text)
				}
				texts[i] = escape(text)
			}
			switch one := strings.Join(texts, ","); {
			case p.form && texts != nil:
				all = append(all, escape(name)+"="+one)
			case !p.form:
				all = append(all, one)
			}
		}
		if p.form {
			for _, one := range all {
				b.WriteString(joint(b.String()))
				b.WriteString(one)
			}
			continue
		}
		b.WriteString(strings.Join(all, ","))
	}
	return t.whole(b.String())
}

// whole checks an address with its values once more, as a whole.
func (t *Template) whole(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, tool.Fail("the address would have %d bytes, and at most %d are sent: give shorter arguments", len(text), maxURL)
	}
	u, err := checked(text)
	if err != nil || u.Host != t.base.Host || u.Scheme != t.base.Scheme {
		return nil, tool.Fail("the arguments do not make a valid address: give others")
	}
	return u, nil
}

// joint returns the separator before the next part of a query.
func joint(address string) string {
	if !strings.Contains(address, "?") {
		return "?"
	}
	return "&"
}

// escape writes a text with nothing in it that means something in an address.
// url.QueryEscape leaves only unreserved characters, and + for the space.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// Names are the arguments in the template; true are those in the path.
func (t *Template) Names() map[string]bool {
	names := map[string]bool{}
	for _, p := range t.parts {
		for _, n := range p.names {
			names[n] = names[n] || !p.query
		}
	}
	return names
}
