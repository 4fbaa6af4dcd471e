package anthropic

import "strings"

// Streams in the shapes that servers send.

const (
	begin = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[],"usage":{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":3,"cache_creation_input_tokens":0}}}`
	stop  = `{"type":"message_stop"}`
)

func textStart(index string) string {
	return `{"type":"content_block_start","index":` + index + `,"content_block":{"type":"text","text":""}}`
}

func textDelta(index, text string) string {
	return `{"type":"content_block_delta","index":` + index + `,"delta":{"type":"text_delta","text":"` + text + `"}}`
}

func callStart(index, id, name, input string) string {
	return `{"type":"content_block_start","index":` + index + `,"content_block":{"type":"tool_use","id":"` + id + `","name":"` + name + `","input":` + input + `,"caller":{"type":"direct"}}}`
}

func jsonDelta(index, escaped string) string {
	return `{"type":"content_block_delta","index":` + index + `,"delta":{"type":"input_json_delta","partial_json":"` + escaped + `"}}`
}

func blockStop(index string) string { return `{"type":"content_block_stop","index":` + index + `}` }

func finish(reason string) string {
	return `{"type":"message_delta","delta":{"stop_reason":"` + reason + `","stop_sequence":null},"usage":{"output_tokens":25}}`
}

// sse writes events as Anthropic does.
func sse(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		_, rest, _ := strings.Cut(e, `"type":"`)
		name, _, _ := strings.Cut(rest, `"`)
		b.WriteString("event: " + name + "\ndata: " + e + "\n\n")
	}
	return b.String()
}

// bare writes events without event: lines, as some gateways do.
func bare(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

func plain() string {
	return sse(begin, textStart("0"), `{"type": "ping"}`, textDelta("0", "Grüße, "), textDelta("0", "東京"), blockStop("0"), finish("end_turn"), stop)
}

func twoCalls() string {
	return sse(begin, textStart("0"), textDelta("0", "I add."), blockStop("0"),
		callStart("1", "toolu_1", "add", "{}"), jsonDelta("1", ""), jsonDelta("1", `{\"a\": 12345678901234567890`), jsonDelta("1", "}"), blockStop("1"),
		callStart("2", "toolu_2", "now", "{}"), jsonDelta("2", ""), blockStop("2"), finish("tool_use"), stop)
}

func interleaved() string {
	return sse(begin, callStart("0", "toolu_1", "a", "{}"), callStart("1", "toolu_2", "b", "{}"),
		jsonDelta("1", `{\"y\":`), jsonDelta("0", `{\"x\":`), jsonDelta("1", "2}"), blockStop("1"), jsonDelta("0", "1}"), blockStop("0"),
		finish("tool_use"), stop)
}

func reasoned() string {
	return sse(begin,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see."}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}`, blockStop("0"),
		`{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="} }`, blockStop("1"),
		textStart("2"), textDelta("2", "Yes."), blockStop("2"), finish("end_turn"), stop)
}

func searched() string {
	return sse(begin,
		`{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}`,
		jsonDelta("0", `{\"query\":`), jsonDelta("0", ` \"rain\"}`), blockStop("0"),
		`{"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","encrypted_content":"xyz"}]}}`, blockStop("1"),
		`{"type":"content_block_start","index":2,"content_block":{"type":"text","text":"","citations":[]}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://example.org"}}}`,
		textDelta("2", "It rains."), blockStop("2"), finish("pause_turn"), stop)
}

func wholeMessage() string {
	return `{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[
 {"type":"thinking","thinking":"Let me see.","signature":"c2ln"},
 {"type":"text","text":"I add."},
 {"type":"tool_use","id":"toolu_1","name":"add","input":{"a": 12345678901234567890}},
 {"type":"tool_use","id":"toolu_2","name":"now","input":{}}],
 "stop_reason":"tool_use","usage":{"input_tokens":10,"output_tokens":25,"output_tokens_details":{"thinking_tokens":7}}}`
}

// fixtures are all bodies that end well.
func fixtures() map[string]string {
	return map[string]string{
		"plain": plain(), "two calls": twoCalls(), "interleaved": interleaved(), "reasoned": reasoned(),
		"searched": searched(), "whole": wholeMessage(),
	}
}
