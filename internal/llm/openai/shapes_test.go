package openai

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/recording"
)

// sse is a stream of the given payloads.
func sse(payloads ...string) string {
	var b strings.Builder
	for _, p := range payloads {
		b.WriteString("data: " + p + "\n\n")
	}
	return b.String()
}

// delta is a chunk that adds the given fields.
func delta(fields string) string { return `{"choices":[{"index":0,"delta":{` + fields + `}}]}` }

// entry is a chunk with one entry of tool_calls.
func entry(fields string) string { return delta(`"tool_calls":[{` + fields + `}]`) }

// finished is a last chunk.
func finished(word string) string {
	return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + word + `"}]}`
}

// summary is an answer on one line: what it says, its calls as
// name#id(arguments)carry, how it ended, and the class of its error.
func summary(a recording.Answer) string {
	var b strings.Builder
	for _, part := range []struct{ mark, text string }{{"", a.Text}, {"refusal:", a.Refusal}, {"think:", a.Reasoning}, {"summary:", a.Summary}} {
		if part.text != "" {
			fmt.Fprintf(&b, "%s%.60s ", part.mark, part.text)
		}
	}
	for _, c := range a.Calls {
		fmt.Fprintf(&b, "%s#%s(%s)%s", c.Name, c.ProviderID, c.Arguments, c.Carry)
		if c.Custom {
			b.WriteString("custom")
		}
		if c.Invalid != "" {
			b.WriteString("!")
		}
		b.WriteString(" ")
	}
	fmt.Fprintf(&b, "%s/%s", a.End.Finish, a.End.FinishWord)
	if !a.End.Terminated {
		b.WriteString(" open")
	}
	if a.End.Error != nil {
		fmt.Fprintf(&b, " %s", a.End.Error.Class)
	}
	return b.String()
}

type shape struct{ name, body, want string }

// shapes are small streams in the shapes that hosts send.
func shapes() []shape {
	const call = `"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"}`
	end, stop := finished("tool_calls"), finished("stop")
	return []shape{
		{"plain text", sse(delta(`"role":"assistant","content":""`), delta(`"content":"Hel"`), delta(`"content":"lo"`), stop, `[DONE]`), "Hello stop/stop"},
		{"only the terminal sign", sse(`[DONE]`), "other/"},
		{"chunks without choices around the text", sse(`{"choices":[],"id":"","model":""}`, delta(`"content":"a"`), stop, `{"choices":[]}`, `[DONE]`), "a stop/stop"},
		{"delta null, missing, and message beside it", sse(delta(`"content":"a"`), `{"choices":[{"index":0,"delta":null}]}`, `{"choices":[{"index":0,"message":{"content":"a"}}]}`, `{"choices":[{"index":0,"delta":{"content":"b"},"message":{"content":"ab"}}]}`, stop, `[DONE]`), "ab stop/stop"},
		{"a whole message as the only chunk", sse(`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}`, `[DONE]`), "a stop/stop"},
		{"the first of two choices", sse(`{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}`, stop, `[DONE]`), "a stop/stop"},
		{"a refusal", sse(delta(`"refusal":"No"`), delta(`"refusal":"."`), stop, `[DONE]`), "refusal:No. stop/stop"},
		{"content as a number", sse(delta(`"content":5`), stop, `[DONE]`), "5 stop/stop"},
		{"content as a list", sse(delta(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"},"b",{"type":"new"},7]`), delta(`"content":"c"`), stop, `[DONE]`), "abc think:hm stop/stop"},
		{"thinking as a string and a refusal in a list", sse(delta(`"content":[{"type":"thinking","thinking":"hm"},{"type":"refusal","refusal":"No"}]`), stop, `[DONE]`), "refusal:No think:hm stop/stop"},
		{"reasoning_content and content in one chunk", sse(delta(`"reasoning_content":"hm","content":"a"`), stop, `[DONE]`), "a think:hm stop/stop"},
		{"the same reasoning in two fields", sse(delta(`"reasoning_content":"hm","reasoning":"hm"`), delta(`"reasoning":"!"`), stop, `[DONE]`), "think:hm! stop/stop"},
		{"reasoning only in the details", sse(delta(`"reasoning_details":[{"type":"reasoning.summary","summary":"sum"},{"type":"reasoning.text","text":"hm"}]`), stop, `[DONE]`), "think:hm summary:sum stop/stop"},
		{"a changing chunk id", sse(`{"id":"1","choices":[{"delta":{"content":"a"}}]}`, `{"id":"2","choices":[{"delta":{"content":"b"},"finish_reason":"stop"}]}`, `[DONE]`), "ab stop/stop"},

		{"a call in pieces", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":""}`), entry(`"index":0,"function":{"arguments":"{\"x\":"}`), entry(`"index":0,"function":{"arguments":"1}"}`), end, `[DONE]`), `f#a({"x":1}) tool_calls/tool_calls`},
		{"the id first, then the name, then arguments", sse(entry(`"index":0,"id":"a"`), entry(`"index":0,"function":{"name":"f"}`), entry(`"index":0,"function":{"arguments":"{}"}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"the name first, then the id", sse(entry(`"index":0,"function":{"name":"f"}`), entry(`"index":0,"id":"a"`), end, `[DONE]`), `f#a() tool_calls/tool_calls`},
		{"arguments before the name", sse(entry(`"index":0,"id":"a","function":{"arguments":"{"}`), entry(`"index":0,"function":{"name":"f","arguments":"}"}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"id and name in every piece", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"index":0,"id":"a","function":{"name":"f","arguments":"}"}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"empty and null id and name later", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"index":0,"id":"","function":{"name":"","arguments":"}"}`), entry(`"index":0,"id":null,"function":{"name":null,"arguments":null}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"an id that changes without a name", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"index":0,"id":"b","function":{"arguments":"}"}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"no id at all", sse(entry(`"index":0,"id":"","function":{"name":"f","arguments":"{}"}`), stop, `[DONE]`), `f#({}) tool_calls/stop`},
		{"no index, two calls in one chunk", sse(delta(`"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"g","arguments":"{}"}}]`), end, `[DONE]`), `f#a({}) g#b({}) tool_calls/tool_calls`},
		{"no index, a call per chunk", sse(entry(`"id":"a","function":{"name":"f","arguments":"{}"}`), entry(`"id":"b","function":{"name":"f","arguments":"{}"}`), end, `[DONE]`), `f#a({}) f#b({}) tool_calls/tool_calls`},
		{"no index and no id, the same tool twice", sse(entry(`"function":{"name":"f","arguments":"{}"}`), entry(`"function":{"name":"f","arguments":"{}"}`), end, `[DONE]`), `f#({}) f#({}) tool_calls/tool_calls`},
		{"no index, pieces without an id belong to the last call", sse(entry(`"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"function":{"arguments":"}"}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"no index, pieces by id", sse(entry(`"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"id":"b","function":{"name":"g","arguments":"{}"}`), entry(`"id":"a","function":{"arguments":"}"}`), end, `[DONE]`), `f#a({}) g#b({}) tool_calls/tool_calls`},
		{"an index from the second piece on", sse(entry(`"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"index":0,"function":{"arguments":"}"}`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"two calls under one index", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{}"}`), entry(`"index":0,"id":"b","function":{"name":"f","arguments":"{\"x\":"}`), entry(`"index":0,"function":{"arguments":"2}"}`), end, `[DONE]`), `f#a({}) f#b({"x":2}) tool_calls/tool_calls`},
		{"two calls glued under one index are not run", sse(entry(call), entry(`"index":0,"function":{"arguments":"{}"}`), end, `[DONE]`), `f#a({}{})! tool_calls/tool_calls`},
		{"interleaved calls", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{"}`), entry(`"index":1,"id":"b","function":{"name":"g","arguments":"{"}`), entry(`"index":0,"function":{"arguments":"}"}`), entry(`"index":1,"function":{"arguments":"}"}`), end, `[DONE]`), `f#a({}) g#b({}) tool_calls/tool_calls`},
		{"indexes as strings, below zero, huge", sse(entry(`"index":"1","id":"a","function":{"name":"f","arguments":"{"}`), entry(`"index":1,"function":{"arguments":"}"}`), entry(`"index":-1,"id":"b","function":{"name":"g","arguments":"{}"}`), entry(`"index":1e300,"id":"c","function":{"name":"h","arguments":"{}"}`), end, `[DONE]`), `f#a({}) g#b({}) h#c({}) tool_calls/tool_calls`},
		{"a whole call with its finish", sse(`{"choices":[{"delta":{"tool_calls":[{`+call+`}]},"finish_reason":"tool_calls"}]}`, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"pieces that say nothing", sse(entry(call), entry(`"index":1,"id":"","type":"function"`), delta(`"tool_calls":[]`), delta(`"tool_calls":null`), delta(`"tool_calls":[null]`), entry(`"index":2`), end, `[DONE]`), `f#a({}) tool_calls/tool_calls`},
		{"arguments null", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":null}`), end, `[DONE]`), `f#a() tool_calls/tool_calls`},
		{"arguments \"null\"", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"null"}`), end, `[DONE]`), `f#a(null) tool_calls/tool_calls`},
		{"arguments as an object", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":{"x": [1, 2]}}`), end, `[DONE]`), `f#a({"x": [1, 2]}) tool_calls/tool_calls`},
		{"arguments that are no object", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"[1]"}`), end, `[DONE]`), `f#a([1])! tool_calls/tool_calls`},
		{"no arguments at the output limit were cut", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":""}`), finished("length"), `[DONE]`), `f#a()! length/length`},
		{"the second call cut by the output limit", sse(entry(call), entry(`"index":1,"id":"b","function":{"name":"g","arguments":"{\"x"}`), finished("length"), `[DONE]`), `f#a({}) g#b({"x)! length/length`},
		{"cut arguments that say tool_calls", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{"}`), `{"choices":[{"delta":{},"finish_reason":"tool_calls","native_finish_reason":"max_output_tokens"}]}`, `[DONE]`), `f#a({)! length/tool_calls`},
		{"a signature in a piece of its own", sse(entry(call), entry(`"index":0,"extra_content":{"google":{"thought_signature":"s"}}`), end, `[DONE]`), `f#a({}){"extra_content":{"google":{"thought_signature":"s"}}} tool_calls/tool_calls`},
		{"unknown fields of the function", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{}","sig":"s"}`), end, `[DONE]`), `f#a({}){"function":{"sig":"s"}} tool_calls/tool_calls`},
		{"a custom tool", sse(entry(`"index":0,"id":"a","type":"custom","custom":{"name":"sql","input":"SELECT 1"}`), end, `[DONE]`), `sql#a(SELECT 1)custom tool_calls/tool_calls`},
		{"the old function_call", sse(delta(`"function_call":{"name":"f","arguments":"{"}`), delta(`"function_call":{"arguments":"}"}`), finished("function_call"), `[DONE]`), `f#({}) tool_calls/function_call`},
		{"a call without a name", sse(entry(`"index":0,"id":"a","function":{"arguments":"{}"}`), end, `[DONE]`), `#a({}) tool_calls/tool_calls`},
		{"text between and after calls", sse(delta(`"content":"a"`), entry(call), delta(`"content":"b"`), stop, `[DONE]`), `ab f#a({}) tool_calls/stop`},

		{"a finish, then null", sse(delta(`"content":"a"`), stop, `{"choices":[{"index":0,"delta":{},"finish_reason":null}]}`, `[DONE]`), "a stop/stop"},
		{"a finish per call", sse(`{"choices":[{"delta":{"tool_calls":[{`+call+`}]},"finish_reason":"tool_calls"}]}`, entry(`"index":1,"id":"b","function":{"name":"g","arguments":"{}"}`), end, `[DONE]`), `f#a({}) g#b({}) tool_calls/tool_calls`},
		{"no finish", sse(delta(`"content":"a"`), `[DONE]`), "a other/"},
		{"an unknown finish", sse(delta(`"content":"a"`), finished("tired"), `[DONE]`), "a other/tired"},
		{"an empty finish", sse(delta(`"content":"a"`), finished(""), `[DONE]`), "a other/"},
		{"a content filter", sse(finished("content_filter"), `[DONE]`), "content_filter/content_filter"},
		{"a finish that is a failure", sse(delta(`"content":"a"`), finished("insufficient_system_resource"), `[DONE]`), "a error/insufficient_system_resource overloaded"},
		{"no [DONE] after a finish", sse(delta(`"content":"a"`), stop), "a stop/stop open"},
		{"the end inside a text", sse(delta(`"content":"a"`)), "a error/ open cut"},
		{"the end inside a call", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{"}`)), "f#a({)! error/ open cut"},
		{"the end after whole arguments is a cut all the same", sse(entry(call)), "f#a({}) error/ open cut"},
		{"the end inside a line", sse(delta(`"content":"a"`)) + `data: {"choices":[{"del`, "a error/ open cut"},
		{"a last event that nothing closes", strings.TrimSpace(sse(delta(`"content":"a"`), stop, `[DONE]`)), "a stop/stop"},

		{"CRLF", strings.ReplaceAll(sse(delta(`"content":"a"`), stop, `[DONE]`), "\n", "\r\n"), "a stop/stop"},
		{"data without a space", strings.ReplaceAll(sse(delta(`"content":"a"`), stop, `[DONE]`), "data: ", "data:"), "a stop/stop"},
		{"a byte order mark", "\xef\xbb\xbf" + sse(delta(`"content":"a"`), stop, `[DONE]`), "a stop/stop"},
		{"comments, empty data and unknown fields", ": PROCESSING\n\n" + "data:\n\nid: 1\nretry: 5\n\n" + sse(delta(`"content":"a"`), `null`, `""`, `7`, stop, `[DONE]`), "a stop/stop"},
		{"blank lines first", "\n\r\n \n" + sse(delta(`"content":"a"`), stop, `[DONE]`), "a stop/stop"},
		{"two chunks in one payload", sse(delta(`"content":"a"`)+delta(`"content":"b"`), stop, `[DONE]`), "ab stop/stop"},
		{"an error glued to an unfinished event", sse(delta(`"content":"a"`)+`{"error":{"message":"Overloaded"}}`, `[DONE]`), "a error/ overloaded"},
		{"lines without a blank one between", "data: " + delta(`"content":"a"`) + "\ndata: " + stop + "\ndata: [DONE]\n\n", "a stop/stop"},
		{"escapes and runes", sse(delta(`"content":"\u00e9\ud83d\ude00\n\"é"`), stop, `[DONE]`), "é😀\n\"é stop/stop"},
		{"keys with escapes", sse(`{"ch\u006fices":[{"delta":{"content":"a"}}]}`, stop, `[DONE]`), "a stop/stop"},

		{"an error object", sse(delta(`"content":"a"`), `{"error":{"message":"boom","type":"server_error"}}`), "a error/ open overloaded"},
		{"an error string", sse(`{"error":"boom"}`), "error/ open internal"},
		{"a payload that is a string", sse(`"Rate limit reached"`), "error/ open rate_limited"},
		{"errors that are none", sse(`{"error":null,"choices":[{"delta":{"content":"a"}}]}`, `{"error":"","choices":[]}`, `{"error":{},"choices":[]}`, stop, `[DONE]`), "a stop/stop"},
		{"event: error", "event: error\n" + sse(`{"message":"Failed","code":"tool_use_failed"}`), "error/ open invalid_request"},
		{"event: error with an error within", "event: error\n" + sse(`{"error":{"message":"Overloaded"}}`), "error/ open overloaded"},
		{"event: error that is no JSON", "event: error\n" + sse(`timeout`), "error/ open overloaded"},
		{"llama.cpp's error field", sse(delta(`"content":"a"`)) + "error: {\"code\":400,\"message\":\"context size\"}\n\n" + sse(`[DONE]`), "a error/ context_length"},
		{"an error beside choices and usage", sse(`{"error":{"code":502,"message":"no"},"choices":[{"delta":{"content":"a"},"finish_reason":"error"}]}`, `[DONE]`), "a error/error overloaded"},
		{"an error within a choice", sse(`{"choices":[{"delta":{},"error":{"code":429,"message":"slow"}}]}`, `[DONE]`), "error/ rate_limited"},
		{"an object that calls itself an error", sse(`{"object":"error","message":"m does not support tools","code":400}`), "error/ open unsupported"},
		{"a detail", sse(`{"detail":"Unauthorized"}`), "error/ open auth"},
		{"a payload that is no JSON", sse(delta(`"content":"a"`), `{"choices":oops}`, stop, `[DONE]`), "a error/ open internal"},
		{"the first error counts", sse(`{"error":"Overloaded"}`, `{"error":"Unauthorized"}`, `[DONE]`), "error/ overloaded"},

		{"JSON instead of a stream", `{"choices":[{"index":0,"message":{"role":"assistant","content":"a","reasoning_content":"hm","tool_calls":[{` + call + `}]},"finish_reason":"tool_calls"}]}`, "a think:hm f#a({}) tool_calls/tool_calls"},
		{"JSON cut", `{"choices":[{"index":0,"message":{"content":"a"`, "error/ open cut"},
		{"a JSON error instead of a stream", ` {"error":{"message":"Overloaded"}}`, "error/ open overloaded"},
		{"a list with a JSON error", `[{"error":{"code":429,"message":"quota"}}]`, "error/ open rate_limited"},
		{"JSON that is no completion", `{"models":[]}`, "error/ open internal"},
		{"text that is no JSON", `{oops}`, "error/ open internal"},
		{"a web page", `<!doctype html><title>502 Bad Gateway</title>`, "error/ open overloaded"},
		{"words", "Service Unavailable\n", "error/ open overloaded"},
		{"comments alone", ": ping\n\n: ping\n\n", "error/ open cut"},
		{"nothing", "", "error/ open cut"},
	}
}

func TestDecodeUnderstandsEveryShape(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			if got := summary(collect(t, Decode(strings.NewReader(s.body)))); got != s.want {
				t.Errorf("got  %s\nwant %s", got, s.want)
			}
		})
	}
}

func TestUsageIsTheLastThatCounts(t *testing.T) {
	cases := []struct{ name, body, want string }{
		{"a chunk of its own", sse(`{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":4}}}`), "1 2 3 0 4"},
		{"cumulative, then null and empty", sse(`{"usage":{"prompt_tokens":4,"completion_tokens":1}}`, `{"usage":{"prompt_tokens":3,"completion_tokens":2}}`, `{"usage":null}`, `{"usage":{}}`), "3 2 - - -"},
		{"groq's own place", sse(`{"x_groq":{"usage":{"prompt_tokens":1}}}`), "1 - - - -"},
		{"none", sse(delta(`"content":"a"`)), ""},
		{"counts of other types", sse(`{"usage":{"prompt_tokens":"1","completion_tokens":2.0,"total_tokens":-1e99,"prompt_tokens_details":null}}`), "1 2 - - -"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := counted(collect(t, Decode(strings.NewReader(c.body))).End.Usage); got != c.want {
				t.Errorf("usage is %q, want %q", got, c.want)
			}
		})
	}
}

func counted(u *events.Usage) string {
	if u == nil {
		return ""
	}
	var out []string
	for _, n := range []*int64{u.InputTokens, u.OutputTokens, u.TotalTokens, u.CachedInputTokens, u.ReasoningTokens} {
		if n == nil {
			out = append(out, "-")
		} else {
			out = append(out, fmt.Sprint(*n))
		}
	}
	return strings.Join(out, " ")
}
