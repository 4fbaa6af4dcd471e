package tool

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// maxSchemaDepth bounds how deep secrets are looked for in a schema.
const maxSchemaDepth = 16

// Secrets returns the names of the fields of an answer that are secret: of format
// "password", writeOnly, or with a name, a title or a description that speaks of a
// password, a token, a key or the like. A form with one text field is also judged
// by the question's message. A secret inside a field makes the field secret; one
// that no field of the answer holds is named by itself. The order is that of the
// names.
func (q *Question) Secrets() []string {
	found := map[string]bool{}
	secretFields(q.Schema, 0, found)
	var top struct{ Properties map[string]json.RawMessage }
	// A schema that is no JSON has no fields; the worker refuses it.
	_ = json.Unmarshal(q.Schema, &top)
	if len(top.Properties) == 1 && len(found) == 0 && speaks(q.Message, false) {
		for name, raw := range top.Properties {
			found[name] = readSchema(raw).text()
		}
	}
	maps.DeleteFunc(found, func(_ string, secret bool) bool { return !secret })
	return slices.Sorted(maps.Keys(found))
}

// fieldSchema holds the parts of a field's schema that say whether it is secret.
type fieldSchema struct {
	Type               any
	Title, Description string
	Format             string
	WriteOnly          bool
	Enum               []json.RawMessage
	Const              json.RawMessage
}

func readSchema(raw json.RawMessage) fieldSchema {
	var f fieldSchema
	_ = json.Unmarshal(raw, &f) // what does not fit stays empty
	return f
}

// text reports whether a person types the value freely.
func (f fieldSchema) text() bool {
	return f.Type != "boolean" && len(f.Enum) == 0 && len(f.Const) == 0
}

func (f fieldSchema) secret(name string) bool {
	return f.WriteOnly || f.Format == "password" ||
		f.text() && (speaks(name, true) || speaks(f.Title, true) || speaks(f.Description, false))
}

// secretFields adds the secret fields of a schema. It looks wherever a schema can
// hold another one.
func secretFields(raw json.RawMessage, depth int, found map[string]bool) {
	var members map[string]json.RawMessage
	if depth > maxSchemaDepth || json.Unmarshal(raw, &members) != nil {
		return
	}
	for keyword, value := range members {
		switch keyword {
		case "enum", "const", "default", "examples", "required":
		case "properties", "patternProperties", "dependentSchemas", "$defs", "definitions":
			var each map[string]json.RawMessage
			_ = json.Unmarshal(value, &each) // what is no object has no fields
			for name, one := range each {
				inner := map[string]bool{}
				secretFields(one, depth+1, inner)
				f := readSchema(one)
				named := keyword == "properties"
				switch {
				case named && (len(inner) > 0 || f.secret(name)):
					found[name] = true
				case !named:
					maps.Copy(found, inner)
				}
			}
		default:
			var several []json.RawMessage
			if json.Unmarshal(value, &several) != nil {
				several = []json.RawMessage{value}
			}
			for _, one := range several {
				secretFields(one, depth+1, found)
			}
		}
	}
}

// speaks reports whether a text names a secret. In names also words count that are
// ordinary elsewhere, such as token.
func speaks(text string, name bool) bool {
	words := wordsOf(text)
	for i, word := range words {
		pair := word
		if i+1 < len(words) {
			pair += " " + words[i+1]
		}
		switch word {
		case "password", "passwords", "passwd", "pwd", "passphrase", "passcode", "secret", "credential", "credentials", "apikey", "otp", "cvv", "cvc":
			return true
		case "token", "pin", "ssn", "bearer", "authorization", "privatekey", "accesskey", "secretkey", "authtoken", "accesstoken":
			if name {
				return true
			}
		}
		switch pair {
		case "api key", "api keys", "api token", "access key", "access token", "private key", "signing key", "encryption key", "auth key", "auth token",
			"bearer token", "refresh token", "session token", "security code", "one time", "card number", "pass phrase", "pass word", "recovery code", "seed phrase", "social security":
			return true
		}
	}
	return false
}

// wordsOf returns the words of a text or an identifier in lower case: apiKey and
// API_KEY are api and key.
func wordsOf(text string) []string {
	var b strings.Builder
	runes := []rune(text)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			r = ' '
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || unicode.IsUpper(runes[i-1]) && i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}
