package secret

import (
	"slices"
	"strings"
)

// Own reports whether a variable of the environment configures the connection to
// NATS or is the key of a provider. Programs that Parley starts do not get it.
func Own(variable string) bool {
	name := strings.TrimSuffix(variable, "_FILE")
	return strings.HasPrefix(name, "NATS_") || slices.Contains(Keys(), name)
}

// Keys returns the variables with the keys of providers.
func Keys() []string {
	all := []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY"}
	for _, name := range []string{"cerebras", "deepseek", "fireworks", "groq", "mistral", "moonshot", "nvidia", "openrouter", "perplexity", "together", "xai"} {
		all = append(all, KeyOf(name))
	}
	return all
}

// KeyOf returns the variable with the key of a provider that has a name of its own:
// GROQ_API_KEY for groq.
func KeyOf(provider string) string {
	return strings.ToUpper(strings.ReplaceAll(provider, "-", "_")) + "_API_KEY"
}

// URLs returns the variables whose value is a URL that may hold a password.
func URLs() []string {
	return []string{"NATS_URL", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GEMINI_BASE_URL", "OLLAMA_HOST",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
}

// Named reports whether the name of a variable or a header says that its value is a
// secret.
func Named(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"key", "token", "secret", "pass", "auth", "cred", "cookie", "seed", "signature"},
		func(word string) bool { return strings.Contains(name, word) })
}
