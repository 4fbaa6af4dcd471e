package tool

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSecretFieldsAreFound(t *testing.T) {
	for _, tc := range []struct{ name, message, schema, want string }{
		{"names", "", `{"properties":{"user":{},"password":{"type":"string"},"API_KEY":{},"githubToken":{"type":"string"},"userPIN":{"type":"integer"},"note":{}}}`, "API_KEY githubToken password userPIN"},
		{"a format", "", `{"properties":{"a":{"type":"string","format":"password"},"b":{"type":"string","format":"email"}}}`, "a"},
		{"write only", "", `{"properties":{"a":{"type":"string","writeOnly":true}}}`, "a"},
		{"titles and descriptions", "", `{"properties":{"a":{"title":"Your access token"},"b":{"description":"The passphrase of the key file"},"c":{"title":"A name","description":"how many tokens of text"}}}`, "a b"},
		{"ordinary words", "", `{"properties":{"max_tokens":{"type":"integer"},"spinning":{},"keyboard":{},"tokenizer":{},"shipping":{},"secretary":{}}}`, ""},
		{"a choice and a yes are no secrets", "", `{"properties":{"use_password":{"type":"boolean"},"token":{"enum":["a","b"]}}}`, ""},
		{"the message, for one field", "Please give me your GitHub access token.", `{"properties":{"value":{"type":"string"}}}`, "value"},
		{"the message, for several fields", "Please give me your password.", `{"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`, ""},
		{"the message, for a yes", "Shall I change the password?", `{"properties":{"ok":{"type":"boolean"}}}`, ""},
		{"inside a field", "", `{"properties":{"login":{"type":"object","properties":{"password":{}}},"list":{"items":{"properties":{"secret":{}}}}}}`, "list login"},
		{"in a part of the schema", "", `{"allOf":[{"properties":{"password":{}}}],"$defs":{"x":{"properties":{"otp":{}}}},"if":{"properties":{"pwd":{}}}}`, "otp password pwd"},
		{"a value is no schema", "", `{"properties":{"a":{"default":{"properties":{"password":{}}},"enum":[{"properties":{"password":{}}}]}}}`, ""},
		{"no schema", "Your password?", ``, ""},
		{"no JSON", "", `{"properties":`, ""},
		{"very deep", "", strings.Repeat(`{"not":`, 100) + `{"properties":{"password":{}}}` + strings.Repeat(`}`, 100), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := Question{Message: tc.message, Schema: json.RawMessage(tc.schema)}
			if got := q.Secrets(); !slices.Equal(got, strings.Fields(tc.want)) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzSecrets(f *testing.F) {
	f.Add("password", `{"properties":{"a":{"allOf":[{"properties":{"b":{"format":"password"}}}]}}}`)
	f.Fuzz(func(t *testing.T, message, schema string) {
		q := Question{Message: message, Schema: json.RawMessage(schema)}
		first := q.Secrets()
		if again := q.Secrets(); !slices.Equal(again, first) {
			t.Fatalf("%q, then %q", first, again)
		}
	})
}
