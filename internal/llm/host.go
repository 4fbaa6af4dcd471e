package llm

import (
	"net/url"
	"strings"
)

// IsOpenAI reports whether a base URL is OpenAI's own, or that of Azure's copy: other
// hosts refuse some of its parameters.
func IsOpenAI(baseURL string) bool {
	u, err := url.Parse(baseURL)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}

// BaseURL returns a base URL as people copy it from documentation, without slashes at
// its end and without the path of an endpoint, such as "/chat/completions". A query
// stays.
func BaseURL(given string, endpoints ...string) string {
	path, query, hasQuery := strings.Cut(strings.TrimSpace(given), "?")
	for again := true; again; {
		again = false
		path = strings.TrimRight(path, "/")
		for _, e := range endpoints {
			if rest, found := strings.CutSuffix(path, e); found && !strings.HasSuffix(rest, ":/") {
				path, again = rest, true
			}
		}
	}
	if hasQuery {
		return path + "?" + query
	}
	return path
}
