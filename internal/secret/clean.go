package secret

import (
	"fmt"
	"strings"
)

// Clean returns the value of a variable without what an editor, a shell or a file of
// variables has put around it: white space, line ends, a byte order mark, quotes.
func Clean(value string) string {
	const around = " \t\r\n\v\f\u00a0\u200b\ufeff"
	value = strings.Trim(value, around)
	if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		value = strings.Trim(value[1:n-1], around)
	}
	return value
}

// Check returns why a cleaned value cannot be a key that is sent in a header. The
// error names the variable, not the value.
func Check(variable, value string) error {
	for i, r := range value {
		if r > ' ' && r < 0x7f {
			continue
		}
		what := fmt.Sprintf("the character %U", r)
		switch r {
		case '\n', '\r':
			what = "a line break"
		case ' ', '\t':
			what = "white space"
		}
		return fmt.Errorf("%s has %s after %d bytes: a key has only visible ASCII characters; set it to one key, without a word such as Bearer before it", variable, what, i)
	}
	return nil
}
