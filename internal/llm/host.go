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
