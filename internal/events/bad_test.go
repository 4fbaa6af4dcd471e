package events

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatCannotBeDecodedKeepsItsID(t *testing.T) {
	for _, c := range []struct{ name, raw, id string }{
		{"another field is of the wrong kind", `{"type":"Cancel","turn":7,"id":"a"}`, "a"},
		{"the type is missing", `{"id":"a","text":"hi"}`, "a"},
		{"the type is not a string", `{"id":"a","type":[1]}`, "a"},
		{"it ends too early, after the id", `{"type":"UserMessage","id":"a","text":"hel`, "a"},
		{"it is broken after the id", `{"type":"UserMessage","id":"a",]`, "a"},
		{"it is not UTF-8", "{\"type\":\"UserMessage\",\"id\":\"a\",\"text\":\"\xff\"}", "a"},
		{"the id is not a string", `{"type":"Cancel","id":5,"turn":7}`, ""},
		{"the id is that of something inside", `{"type":"Verdict","calls":7,"x":{"id":"b"}}`, ""},
		{"it ends before the id", `{"type":"UserMessage","text":"hel`, ""},
		{"it is no object", `["id","a"]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeFrame([]byte(c.raw))
			bad, ok := errors.AsType[*BadEventError](err)
			if !ok || bad.ID != c.id {
				t.Errorf("%v: id %+v, want %q", err, bad, c.id)
			}
		})
	}
}

func TestNoErrorOfTheDecoderNamesGoOrItsLibrary(t *testing.T) {
	// Every field of every event, with a value of each kind.
	for _, e := range Prototypes() {
		for _, field := range strings.Fields("id turn calls text tools parameters limits policy hooks events state message usage error object awaiting index block at_ms arguments conversation inputs messages structured terminated finish attachments lane_sequence extra") {
			for _, value := range []string{`"s"`, "7", "7.5", "-1", "1e400", "true", "[]", "[7]", "{}", `{"id":[]}`, `[{"call":{}}]`, `{"rules":[{"tool":7}]}`, "nul", `"`, ""} {
				_, err := DecodeLine([]byte(`{"type":"` + e.Type() + `","` + field + `":` + value + `}`))
				if err == nil {
					continue
				}
				for _, word := range []string{"json:", "Go ", "struct", "events.", "unmarshal", "invalid character", "int", "cannot be read", "Origin"} {
					if strings.Contains(err.Error(), word) {
						t.Errorf("%s %s %s: %v", e.Type(), field, value, err)
					}
				}
			}
		}
	}
}
