package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// appendJob writes the transcript of a job by hand, which is nearly all of a long
// conversation's job, and the rest as encoding/json does.
func appendJob(dst []byte, e *GenerationJob) ([]byte, error) {
	if e == nil || e.Messages == nil {
		return appendSlow(dst, e)
	}
	rest := *e
	rest.Messages = nil
	raw, err := appendSlow(nil, &rest)
	if err != nil {
		return dst, err
	}
	const none = `,"messages":null`
	before, behind, found := bytes.Cut(raw, []byte(none)) // the first is the job's own: see messagesKey
	if !found {
		return dst, fmt.Errorf("encode %s: it has no field for its messages", e.Type())
	}
	whole := dst
	size := len(raw)
	for _, m := range e.Messages {
		size += 100
		for _, p := range m.Parts {
			size += 100 + len(p.Text) + len(p.Arguments)
		}
	}
	dst = slices.Grow(dst, size)
	dst = append(append(dst, before...), messagesKey...)
	for i, m := range e.Messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendMessage(dst, m); err != nil {
			return whole, fmt.Errorf("encode message %d of %s: %w", i+1, e.Type(), err)
		}
	}
	return append(append(dst, ']'), behind...), nil
}

func appendMessage(dst []byte, m Message) ([]byte, error) {
	if m.Parts == nil {
		return appendJSON(dst, m)
	}
	dst = appendString(append(dst, `{"role":`...), string(m.Role))
	dst = append(dst, `,"parts":[`...)
	for i, p := range m.Parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		if p.Object != nil || p.MIME != "" || len(p.Data) > 0 || len(p.Attachments) > 0 || !compact(p.Carry) {
			var err error
			if dst, err = appendJSON(dst, p); err != nil {
				return dst, err
			}
			continue
		}
		dst = appendString(append(dst, `{"kind":`...), string(p.Kind))
		dst = appendText(dst, `,"text":`, p.Text)
		dst = appendFlag(dst, `,"summary":true`, p.Summary)
		dst = appendText(dst, `,"call":`, p.Call)
		dst = appendText(dst, `,"provider_id":`, p.ProviderID)
		dst = appendText(dst, `,"name":`, p.Name)
		dst = appendText(dst, `,"arguments":`, p.Arguments)
		dst = appendFlag(dst, `,"custom":true`, p.Custom)
		dst = appendText(dst, `,"invalid":`, p.Invalid)
		dst = appendText(dst, `,"status":`, string(p.Status))
		dst = append(appendRaw(dst, `,"carry":`, p.Carry), '}')
	}
	dst = append(dst, ']')
	dst = appendText(dst, `,"by":`, m.By)
	dst = appendText(dst, `,"provider":`, m.Provider)
	dst = appendText(dst, `,"model":`, m.Model)
	dst = appendText(dst, `,"omitted":`, string(m.Omitted))
	return append(dst, '}'), nil
}

// appendJSON is the general path of an event, or of a part of one.
func appendJSON(dst []byte, of any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(of); err != nil {
		return dst, err
	}
	return append(dst, bytes.TrimRight(buf.Bytes(), "\n")...), nil
}
