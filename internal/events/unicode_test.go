package events

import "testing"

func TestHalfSurrogatePairsDoNotGoOut(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"nothing to replace", `{"a":"b\n\"ü😀"}`, `{"a":"b\n\"ü😀"}`},
		{"a high half before text", `{"a":"1\ud99c x"}`, `{"a":"1\ufffd x"}`},
		{"a high half at the end of a string", `{"a":"1\uD83D"}`, `{"a":"1\ufffd"}`},
		{"a low half", `{"a":"\ude00"}`, `{"a":"\ufffd"}`},
		{"a pair", `{"a":"\ud83d\uDE00"}`, `{"a":"\ud83d\uDE00"}`},
		{"two high halves, then a low one", `"\ud83d\ud83d\ude00"`, `"\ufffd\ud83d\ude00"`},
		{"a pair in the wrong order", `"\ude00\ud83d"`, `"\ufffd\ufffd"`},
		{"an escaped backslash before ud83d", `"\\ud83d"`, `"\\ud83d"`},
		{"an escaped backslash, then a half", `"\\\ud83d"`, `"\\\ufffd"`},
		{"in a key", `{"\udc00":1}`, `{"\ufffd":1}`},
		{"another escape", `"\u00e4\u0000"`, `"\u00e4\u0000"`},
		{"a high half and another escape", `"\ud83d\u00e4"`, `"\ufffd\u00e4"`},
		{"not JSON: cut in an escape", `{"a":"\ud8`, `{"a":"\ud8`},
		{"not JSON: a backslash at the end", `\`, `\`},
		{"bytes that are not UTF-8", "\"\xed\xa0\x80\"", `"` + "\uFFFD" + `"`},
	} {
		if got := WellFormed(c.raw); got != c.want {
			t.Errorf("%s: %s becomes %s, want %s", c.name, c.raw, got, c.want)
		}
	}
}
