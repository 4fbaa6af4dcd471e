package terminal

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestArgumentsAreShownExactly(t *testing.T) {
	for _, tc := range []struct{ name, raw, want string }{
		{"space between tokens goes", "{ \"a\" : [ 1 , 2 ] }\n", `{"a":[1,2]}`},
		{"space in a text stays", `{"a":"two  spaces "}`, `{"a":"two  spaces "}`},
		{"numbers stay as they were written", `{"n":1.50e3,"m":-0}`, `{"n":1.50e3,"m":-0}`},
		{"a duplicate name is shown twice", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{"text of any script is shown", `{"a":"漢字 é 👍 שלום"}`, `{"a":"漢字 é 👍 שלום"}`},
		{"escapes of what shows are undone", `{"\u0063md":"r\u006d -\u0072f \ud83d\udc4d"}`, `{"cmd":"rm -rf 👍"}`},
		{"escapes that JSON needs stay", `{"a":"\" \\ \/ \u0022 \u005c \n \t"}`, `{"a":"\" \\ \/ \u0022 \u005c \n \t"}`},
		{"an escaped backslash begins no escape", `{"a":"\\u0072"}`, `{"a":"\\u0072"}`},
		{"halves of a surrogate pair stay", `{"a":"\ud83dx\udc4d"}`, `{"a":"\ud83dx\udc4d"}`},
		{"overrides and isolates are seen", "{\"a\":\"\u202eexe\u2066\"}", `{"a":"\u202eexe\u2066"}`},
		{"what has no width is seen", "{\"a\":\"r\u200bm\u2060 \ufeff\u00ad\u034f\"}", `{"a":"r\u200bm\u2060 \ufeff\u00ad\u034f"}`},
		{"spaces that are not the plain one are seen", "{\"a\":\"\u00a0\u2003\u3000\u2028\u3164\u2800\"}", `{"a":"\u00a0\u2003\u3000\u2028\u3164\u2800"}`},
		{"tags and variation selectors are seen", "{\"a\":\"\U000e0041\ufe0f\"}", `{"a":"\udb40\udc41\ufe0f"}`},
		{"C1 controls and DEL are seen", "{\"a\":\"\u009b2J\u007f\"}", `{"a":"\u009b2J\u007f"}`},
		{"a letter that passes for another is seen", "{\"to\":\"p\u0430ypal.com\",\"cc\":\"https://bank.com\u2044@evil.com\"}", `{"to":"p\u0430ypal.com","cc":"https://bank.com\u2044@evil.com"}`},
		{"what is no JSON is harmless", "{\"a\":\x1b[2J", `{"a":^[[2J`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := (Profile{Unicode: true}).exact(json.RawMessage(tc.raw)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	long := (Profile{}).exact(json.RawMessage(`{"a":"` + strings.Repeat("é", lineBytes) + `"}`))
	if len(long) > lineBytes+3 || !strings.HasSuffix(long, "é...") {
		t.Errorf("%d bytes that end in %q", len(long), long[len(long)-10:])
	}
}
