package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// forms returns a value in the encodings in which a text may have it.
func forms(value string) []string {
	all := []string{value, url.QueryEscape(value), url.PathEscape(value), strings.ReplaceAll(url.QueryEscape(value), "+", "%20"),
		hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value)))}
	all = append(all, lowerPercent(all[1]), lowerPercent(all[2]))
	quoted := strconv.Quote(value)
	all = append(all, quoted[1:len(quoted)-1], strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value))
	if raw, err := json.Marshal(value); err == nil {
		all = append(all, string(raw[1:len(raw)-1]))
	}
	// What a text that holds the value becomes as base64 depends on where the value
	// begins, modulo three. The characters that also depend on its surroundings are
	// left out.
	for before := range 3 {
		padded := append(make([]byte, before), value...)
		from, to := (before*8+5)/6, len(padded)*8/6
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, alphabet.EncodeToString(padded)[from:to])
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return len(s) < MinLength })
}

// lowerPercent writes the digits of percent-encoding in lower case.
func lowerPercent(text string) string {
	b := []byte(text)
	for i := range b {
		if i > 0 && b[i-1] == '%' || i > 1 && b[i-2] == '%' {
			b[i] = strings.ToLower(string(b[i]))[0]
		}
	}
	return string(b)
}
