package tool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	contract "github.com/parleybus/parley/internal/tool"
)

// Result is the return type of functions that set the model's text, the
// structured result and the attachments separately.
type Result struct {
	// Content is the text that the model reads. If it is empty the model reads
	// Structured as JSON, or the list of attached files.
	Content string
	// Structured is the result as data, for programs; nil means none.
	Structured any
	// Attachments are stored by reference and shown to people.
	Attachments []Attachment
}

// Attachment is a file or an image that a tool returns.
type Attachment struct {
	Name string // a file's name or a URI; may be empty
	MIME string // media type; detected from the bytes if empty
	Data []byte
}

// encoder converts the return value of a function to a result.
type encoder func(out any) (contract.Result, error)

// output generates or checks the schema of the result and selects its encoder.
func (d *definition) output(t reflect.Type) encoder {
	if d.spec.Output != nil {
		schema, err := given(d.spec.Output)
		if err != nil {
			d.problem("OutputSchema: %w", err)
		}
		d.spec.Output = schema
		if _, isData := written(t); !isData && t != reflect.TypeFor[Result]() {
			d.problem("OutputSchema is of data, and the function returns %s: return a struct, a map, any or a json.RawMessage", t)
		}
	}
	encode, isData := written(t)
	if !isData {
		return encode
	}
	top := t
	for top.Kind() == reflect.Pointer {
		top = top.Elem()
	}
	object := (top.Kind() == reflect.Struct || top.Kind() == reflect.Map) && !marshals(top, false) && !isText(top, false)
	w := walker{}
	if d.spec.Output == nil {
		// Only objects are structured results; other values must only be
		// encodable.
		s, err := w.schema(top)
		if err == nil && object {
			s.Type, s.Types = "object", nil
			d.spec.Output, err = given(s)
		}
		if err != nil {
			d.problem("result: %w; or give the schema with OutputSchema", err)
		}
	}
	structured := d.spec.Output != nil
	return func(out any) (contract.Result, error) {
		raw, err := compact(out)
		if err != nil {
			return contract.Result{}, err
		}
		r := contract.Result{Content: string(raw)}
		if structured {
			r.Structured = raw
		}
		return r, nil
	}
}

// written returns the encoder of a type that is text or files. Other types are
// data, encoded as JSON.
func written(t reflect.Type) (_ encoder, isData bool) {
	switch {
	case t == reflect.TypeFor[Result]():
		return func(out any) (contract.Result, error) { return out.(Result).contract() }, false
	case t == reflect.TypeFor[Attachment]():
		return func(out any) (contract.Result, error) {
			return Result{Attachments: []Attachment{out.(Attachment)}}.contract()
		}, false
	case t == reflect.TypeFor[[]Attachment]():
		return func(out any) (contract.Result, error) { return Result{Attachments: out.([]Attachment)}.contract() }, false
	case marshals(t, false) || isText(t, false):
		return nil, true
	case t.Kind() == reflect.String:
		return func(out any) (contract.Result, error) { return text(reflect.ValueOf(out).String()), nil }, false
	case isBytes(t, false):
		return func(out any) (contract.Result, error) {
			data := reflect.ValueOf(out).Bytes()
			if utf8.Valid(data) && !bytes.ContainsRune(data, 0) {
				return text(string(data)), nil
			}
			return Result{Attachments: []Attachment{{Data: data}}}.contract()
		}, false
	case t.Kind() == reflect.Struct && t.NumField() == 0:
		return func(any) (contract.Result, error) { return text("done"), nil }, false
	}
	return nil, true
}

func text(s string) contract.Result {
	return contract.Result{Content: strings.ToValidUTF8(s, "\uFFFD")}
}

// contract returns the result in the worker's type.
func (r Result) contract() (contract.Result, error) {
	out := text(r.Content)
	if r.Structured != nil {
		raw, err := compact(r.Structured)
		if err != nil {
			return out, err
		}
		if out.Structured = raw; out.Content == "" {
			out.Content = string(raw)
		}
	}
	var names []string
	for _, a := range r.Attachments {
		if a.MIME == "" {
			a.MIME = http.DetectContentType(a.Data)
		}
		out.Attachments = append(out.Attachments, contract.Attachment(a))
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s (%s, %d bytes)", a.Name, a.MIME, len(a.Data))))
	}
	if out.Content == "" && len(names) > 0 {
		out.Content = "attached: " + strings.Join(names, ", ")
	}
	return out, nil
}

// compact encodes a value as JSON for a model: without HTML escapes, and nil as
// an empty list or object.
func compact(out any) (json.RawMessage, error) {
	v := reflect.ValueOf(out)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Pointer:
		return nil, contract.Fail("the tool gave nothing: a nil %s and no error", v.Type())
	case v.Kind() == reflect.Map && v.IsNil():
		return json.RawMessage("{}"), nil
	case v.Kind() == reflect.Slice && v.IsNil() && !implements[json.Marshaler](v.Type()):
		return json.RawMessage("[]"), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, contract.Fail("the result cannot be written as JSON: %s", clip(err.Error()))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
