package offer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/parleybus/parley/internal/events"
)

const (
	// MaxOffered is the most tools of one request to a model, the search for tools
	// included: what OpenAI and most compatible hosts take. Models choose worse among more.
	MaxOffered = 128
	// FindTools is the name of the tool that finds and loads others.
	FindTools = "find_tools"

	maxLoaded  = 32   // tools that the model found, in addition to the first ones
	maxFound   = 10   // tools that one search loads
	maxMore    = 50   // further tools that one search names
	maxText    = 300  // bytes of a description that a search shows
	searchable = 2000 // bytes of a description that a search reads
	maxWords   = 20   // words of a search
	shortest   = 3    // bytes of a word that is found within others
)

// Choice is what a model is offered of the tools of a conversation.
type Choice struct {
	Tools []events.ToolSpec
	// Searchable counts the tools that are not offered, and that FindTools finds.
	Searchable int
}

// Choose returns what to offer of tools, which are sorted by name. Up to
// MaxOffered of them are offered as they are. Of more, it offers FindTools, the
// first ones (those that come from no MCP server before the others), and the
// wanted ones, of which the last ones count. The first ones stay the same when
// tools are loaded, so that a provider's cache of the request stays valid.
func Choose(tools []events.ToolSpec, wanted []string) Choice {
	if len(tools) <= MaxOffered || slices.ContainsFunc(tools, func(t events.ToolSpec) bool { return t.Name == FindTools }) {
		return Choice{Tools: tools}
	}
	first := slices.Clone(tools)
	slices.SortStableFunc(first, func(a, b events.ToolSpec) int { return cmp.Compare(min(len(a.Server), 1), min(len(b.Server), 1)) })
	first = first[:MaxOffered-1-maxLoaded]
	slices.SortFunc(first, func(a, b events.ToolSpec) int { return cmp.Compare(a.Name, b.Name) })
	taken := map[string]bool{}
	for _, t := range first {
		taken[t.Name] = true
	}
	byName := map[string]events.ToolSpec{}
	for _, t := range tools {
		byName[t.Name] = t
	}
	var loaded []events.ToolSpec
	for _, name := range slices.Backward(wanted) {
		if t, is := byName[name]; is && !taken[name] && len(loaded) < maxLoaded {
			taken[name] = true
			loaded = append(loaded, t)
		}
	}
	slices.Reverse(loaded)
	c := Choice{Searchable: len(tools) - len(first) - len(loaded)}
	c.Tools = slices.Concat([]events.ToolSpec{search(tools)}, first, loaded)
	return c
}

// search describes the tool FindTools.
func search(tools []events.ToolSpec) events.ToolSpec {
	counts := map[string]int{}
	var servers []string
	for _, t := range tools {
		if t.Server != "" && counts[t.Server] == 0 {
			servers = append(servers, t.Server)
		}
		counts[t.Server]++
	}
	slices.Sort(servers)
	text := fmt.Sprintf("Finds tools and loads them: of the %d tools here only some are listed. Call it when no listed tool does what is needed. The tools found can be called in the next step.", len(tools))
	for i, s := range servers {
		if i == maxMore {
			break
		}
		text += fmt.Sprintf(" %s: %d tools.", s, counts[s])
	}
	return events.ToolSpec{Name: FindTools, Description: text, Effect: events.EffectPure,
		Schema: json.RawMessage(`{"type":"object","properties":{"query":{"type":"string","minLength":1,"maxLength":1000,"description":"words of the tool's name, its description or its server, or the exact name"}},"required":["query"],"additionalProperties":false}`)}
}

// Found is the result of a search, which the model reads.
type Found struct {
	Loaded []FoundTool `json:"loaded"`
	// More are further tools that match, by name.
	More []string `json:"more,omitempty"`
	Note string   `json:"note"`
}

// FoundTool is one tool of a result.
type FoundTool struct {
	Name        string `json:"name"`
	Server      string `json:"server,omitempty"`
	Description string `json:"description,omitempty"`
}

// Search finds tools by the words of a query, best first.
func Search(tools []events.ToolSpec, query string) Found {
	asked := words(query)
	asked = asked[:min(len(asked), maxWords)]
	type hit struct {
		tool  events.ToolSpec
		score int
	}
	var hits []hit
	for _, t := range tools {
		score := 0
		name, text := strings.ToLower(t.Name), strings.ToLower(t.Description[:min(len(t.Description), searchable)])
		inName := words(t.Name)
		for _, w := range asked {
			switch {
			case slices.Contains(inName, w):
				score += 10
			case len(w) >= shortest && strings.Contains(name, w):
				score += 6
			}
			if strings.EqualFold(t.Server, w) {
				score += 4
			}
			if len(w) >= shortest && strings.Contains(text, w) {
				score += 2
			}
		}
		if strings.EqualFold(strings.TrimSpace(query), t.Name) {
			score += 1000
		}
		if score > 0 {
			hits = append(hits, hit{t, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	f := Found{Loaded: []FoundTool{}, Note: "The loaded tools can be called now."}
	for i, h := range hits {
		if i < maxFound {
			f.Loaded = append(f.Loaded, FoundTool{h.tool.Name, h.tool.Server, short(h.tool.Description)})
		} else if len(f.More) < maxMore {
			f.More = append(f.More, h.tool.Name)
		}
	}
	switch {
	case len(hits) == 0:
		f.Note = fmt.Sprintf("None of the %d tools matches: try other words.", len(tools))
	case len(f.More) > 0:
		f.Note += fmt.Sprintf(" %d tools match: search again with the exact name of one of \"more\" to load it.", len(hits))
	}
	return f
}

// Loaded returns the tools that a model loaded or called, oldest first: the calls
// of its messages, and what the results of FindTools loaded.
func Loaded(messages []events.Message) []string {
	var names []string
	for _, m := range messages {
		for _, p := range m.Parts {
			switch {
			case p.Kind == events.PartCall && p.Name != FindTools:
				names = append(names, p.Name)
			case p.Kind == events.PartResult && p.Name == FindTools && p.Status == events.StatusOK:
				var f Found
				if json.Unmarshal([]byte(p.Text), &f) != nil {
					continue // a result of another kind, which loads nothing
				}
				for _, t := range f.Loaded {
					names = append(names, t.Name)
				}
			}
		}
	}
	return names
}

// words returns the lower-case words of a text.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
