package ceilings

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CodeExtra is the code of a key of parameters.extra that is not allowed.
const CodeExtra = "extra_not_allowed"

// Words of a list of keys.
const (
	anyKey      = "*"       // every key that no adapter writes
	defaultKeys = "default" // the keys that are allowed without a list
	// otherProvider has the list of providers without one.
	otherProvider = "*"
)

// nested returns the keys whose values are objects that an adapter writes in part, in
// lower case: their keys are allowed one by one, as options.num_ctx.
func nested() []string { return []string{"options", "generationconfig"} }

// ExtraDefaults returns the keys of parameters.extra that are allowed without a list,
// by provider. They tune an answer; none names a model, content, a tool, a store or a
// price.
func ExtraDefaults() map[string][]string {
	chat := []string{"frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format", "parallel_tool_calls",
		"user", "safety_identifier", "prompt_cache_key", "verbosity", "top_k", "top_a", "min_p", "repetition_penalty"}
	return map[string][]string{
		"openai":           chat,
		"openai-responses": {"text", "parallel_tool_calls", "user", "safety_identifier", "prompt_cache_key", "top_logprobs", "truncation"},
		"anthropic":        {"top_k", "metadata"},
		"ollama": {"format", "options.num_ctx", "options.num_keep", "options.top_k", "options.min_p", "options.typical_p", "options.repeat_last_n",
			"options.repeat_penalty", "options.presence_penalty", "options.frequency_penalty", "options.mirostat", "options.mirostat_eta", "options.mirostat_tau"},
		"gemini":      {"generationConfig.topK", "generationConfig.frequencyPenalty", "generationConfig.presencePenalty", "generationConfig.responseLogprobs", "generationConfig.logprobs"},
		"scripted":    {anyKey}, // it sends no request
		otherProvider: chat,
	}
}

// OwnKeys returns the keys that adapters write themselves. No list allows them: they
// would replace the model, the messages, the tools or the limits of a request. They are
// in lower case; of Gemini's, the API also takes the form with underscores.
func OwnKeys() []string {
	return append(nested(), "model", "messages", "input", "instructions", "system", "tools", "tool_choice", "functions", "function_call", "stream", "stream_options",
		"max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "top_p", "seed", "stop", "stop_sequences",
		"reasoning_effort", "reasoning", "think", "thinking", "output_config", "include", "store",
		"options.num_predict", "options.temperature", "options.top_p", "options.seed", "options.stop",
		"contents", "systeminstruction", "system_instruction", "toolconfig", "tool_config", "generation_config",
		"generationconfig.maxoutputtokens", "generationconfig.max_output_tokens", "generationconfig.temperature", "generationconfig.topp", "generationconfig.top_p",
		"generationconfig.seed", "generationconfig.stopsequences", "generationconfig.stop_sequences", "generationconfig.thinkingconfig", "generationconfig.thinking_config")
}

// CheckExtra reports which key of parameters.extra a provider's request must not
// have. Without a provider a key is fine that one of them allows.
func (c Ceilings) CheckExtra(provider string, extra map[string]json.RawMessage) error {
	for _, key := range extraKeys(extra) {
		if IsOwn(key) {
			return Errorf(CodeExtra, "parameters.extra.%.80s is written by Parley: use the parameter or setting for it", key)
		}
		if provider != "" && !c.allows(provider, key) {
			return Errorf(CodeExtra, "parameters.extra.%.80s is not allowed for %s: leave it out, or let the deployment allow it (ceilings, extra)", key, provider)
		}
		if provider == "" && !slices.ContainsFunc(c.providers(), func(p string) bool { return c.allows(p, key) }) {
			return Errorf(CodeExtra, "parameters.extra.%.80s is not allowed for any provider: leave it out, or let the deployment allow it (ceilings, extra)", key)
		}
	}
	return nil
}

// IsOwn reports whether adapters write a key themselves. The case of letters does not
// matter: some servers ignore it.
func IsOwn(key string) bool { return slices.Contains(OwnKeys(), strings.ToLower(key)) }

// extraKeys returns the keys of parameters.extra, sorted, those of options one by one.
func extraKeys(extra map[string]json.RawMessage) []string {
	var keys []string
	for key, value := range extra {
		var inner map[string]json.RawMessage
		if slices.Contains(nested(), strings.ToLower(key)) && json.Unmarshal(value, &inner) == nil && inner != nil {
			for k := range inner {
				keys = append(keys, key+"."+k)
			}
			continue
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// OwnExtra returns the first key of parameters.extra that adapters write themselves;
// empty when there is none.
func OwnExtra(extra map[string]json.RawMessage) string {
	for _, key := range extraKeys(extra) {
		if IsOwn(key) {
			return key
		}
	}
	return ""
}

// providers returns the providers with a list, but not those with a default list of
// every key, which would make the others useless.
func (c Ceilings) providers() []string {
	var all []string
	for p, list := range ExtraDefaults() {
		if !slices.Contains(list, anyKey) {
			all = append(all, p)
		}
	}
	return append(all, slices.Collect(maps.Keys(c.Extra))...)
}

// allows reports whether a provider's list has a key.
func (c Ceilings) allows(provider, key string) bool {
	usual := ExtraDefaults()
	list, given := c.Extra[provider]
	if !given {
		if list, given = usual[provider]; !given || provider == otherProvider {
			if own, ok := c.Extra[otherProvider]; ok {
				list = own
			} else {
				list = usual[otherProvider]
			}
		}
	}
	for _, allowed := range list {
		switch allowed {
		case key, anyKey:
			return true
		case defaultKeys:
			standard, ok := usual[provider]
			if !ok {
				standard = usual[otherProvider]
			}
			if slices.Contains(standard, key) || slices.Contains(standard, anyKey) {
				return true
			}
		}
	}
	return false
}

// checkExtra reports why the lists of a rules file cannot be used.
func (c Ceilings) checkExtra() error {
	for _, provider := range slices.Sorted(maps.Keys(c.Extra)) {
		for _, key := range c.Extra[provider] {
			if key == "" || IsOwn(key) {
				return fmt.Errorf("extra of %s: the key %q cannot be allowed: adapters write it themselves", provider, key)
			}
		}
	}
	return nil
}
