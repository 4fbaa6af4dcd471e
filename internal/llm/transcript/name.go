package transcript

import "strings"

// maxName bounds the names and ids of calls at OpenAI and Anthropic, in bytes.
const maxName = 64

// Name returns the name of a call in the form that hosts accept: letters, digits, _
// and -. Models invent names, and hosts refuse the whole history for one.
func Name(name string) string {
	if name = allowed(name); name == "" {
		return "unnamed"
	}
	return name
}

// ValidID reports whether a provider's id of a call has that form, too.
func ValidID(id string) bool { return id != "" && id == allowed(id) }

func allowed(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), maxName)]
}
