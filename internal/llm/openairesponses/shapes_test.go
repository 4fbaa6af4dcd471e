package openairesponses

import "github.com/parleybus/parley/internal/events"

type shape struct {
	name string
	body string
	want answered
}

// shapes are the forms in which servers answer, each as small as it can be.
func shapes() []shape {
	oneCall := answered{calls: `call_1 add({"x":1})`, finish: events.FinishToolCalls, word: "completed"}
	hi := answered{text: "Hi", finish: events.FinishStop, word: "completed"}
	return append(itemShapes(oneCall), append(textShapes(hi), endShapes()...)...)
}

func itemShapes(oneCall answered) []shape {
	return []shape{
		{"a call comes with its arguments in pieces",
			sse(created, callAdded, argsHalf, argsRest, `{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{\"x\":1}"}`, callDone, completed), oneCall},
		{"arguments that only a done event has are not lost",
			sse(callAdded, `{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{\"x\":1}"}`, completed), oneCall},
		{"arguments that only the done item has are not lost", sse(callAdded, callDone, completed), oneCall},
		{"the rest of the arguments comes with the done item", sse(callAdded, argsHalf, callDone, completed), oneCall},
		{"a call that is never announced is known from its done item", sse(callDone, completed), oneCall},
		{"arguments before the name of their call wait for it", sse(argsHalf, argsRest, callDone, completed), oneCall},
		{"a call that only the final output holds is not lost",
			sse(created, `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"call_1","name":"add","arguments":"{\"x\":1}"}]}}`), oneCall},
		{"the final output does not repeat a call",
			sse(callAdded, argsHalf, argsRest, `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","id":"fc_9","call_id":"call_1","name":"add","arguments":"{\"x\":1}"}]}}`), oneCall},
		{"the final output does not repeat a call whose id it changed",
			sse(callAdded, callDone, `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"call_9","name":"add","arguments":"{\"x\":1}"}]}}`), oneCall},
		{"a call that the stream left out comes from the final output",
			sse(callAdded, callDone, `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"call_2","name":"add","arguments":"{}"},{"type":"function_call","call_id":"call_1","name":"add","arguments":"{\"x\":1}"}]}}`),
			answered{calls: `call_1 add({"x":1}) call_2 add({})`, finish: events.FinishToolCalls, word: "completed"}},
		{"a call that is announced twice starts once", sse(callAdded, callAdded, argsHalf, argsRest, callDone, completed), oneCall},
		{"arguments that come as an object are text again",
			sse(callAdded, `{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"call_1","name":"add","arguments":{"x":1}}}`, completed), oneCall},
		{"item ids that change from event to event do not matter",
			sse(callAdded, `{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"other","delta":"{\"x\":1}"}`,
				`{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"third","call_id":"call_1","name":"add","arguments":"{\"x\":1}"}}`, completed), oneCall},
		{"without an index the item id tells two calls apart",
			sse(`{"type":"response.output_item.added","item":{"type":"function_call","id":"a","call_id":"call_1","name":"add"}}`,
				`{"type":"response.output_item.added","item":{"type":"function_call","id":"b","call_id":"call_2","name":"sub"}}`,
				`{"type":"response.function_call_arguments.delta","item_id":"a","delta":"{\"x\":1}"}`,
				`{"type":"response.function_call_arguments.delta","item_id":"b","delta":"{\"y\":2}"}`, completed),
			answered{calls: `call_1 add({"x":1}) call_2 sub({"y":2})`, finish: events.FinishToolCalls, word: "completed"}},
		{"without an index and an id, events belong to the call that is open",
			sse(`{"type":"response.output_item.added","item":{"type":"function_call","id":"a","call_id":"call_1","name":"add"}}`,
				`{"type":"response.function_call_arguments.delta","delta":"{\"x\":1}"}`, completed), oneCall},
		{"two calls under the same index stay two",
			sse(callAdded, callDone, `{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_2","call_id":"call_2","name":"add"}}`,
				`{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}`, completed),
			answered{calls: `call_1 add({"x":1}) call_2 add({})`, finish: events.FinishToolCalls, word: "completed"}},
		{"a call without arguments is whole",
			sse(callAdded, `{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"call_1","name":"add","arguments":""}}`, completed),
			answered{calls: `call_1 add()`, finish: events.FinishToolCalls, word: "completed"}},
		{"a call whose name never comes is kept without one",
			sse(argsHalf, argsRest, completed), answered{calls: ` ({"x":1})`, finish: events.FinishToolCalls, word: "completed"}},
		{"a custom call holds free text",
			sse(`{"type":"response.output_item.added","output_index":0,"item":{"type":"custom_tool_call","id":"ct_1","call_id":"call_1","name":"sql"}}`,
				`{"type":"response.custom_tool_call_input.delta","output_index":0,"delta":"SELECT "}`,
				`{"type":"response.custom_tool_call_input.done","output_index":0,"input":"SELECT 1"}`, completed),
			answered{calls: `call_1 sql(SELECT 1)*`, finish: events.FinishToolCalls, word: "completed"}},
	}
}

func textShapes(hi answered) []shape {
	const final = `{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","id":"new","content":[{"type":"output_text","text":"Hi"}]}]}}`
	const thought = `{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"A"},{"type":"summary_text","text":"B"}],"content":[],"encrypted_content":"xyz"}}`
	return []shape{
		{"text comes in pieces and is not repeated by done events", sse(created, textHi,
			`{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"Hi"}`,
			`{"type":"response.content_part.done","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hi"}}`,
			`{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"Hi"}]}}`, final), hi},
		{"text that only a done event has is not lost", sse(`{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"Hi"}`, completed), hi},
		{"text that only the final output holds is not lost", sse(created, final), hi},
		{"an early stream without an index is read", sse(`{"type":"response.output_text.delta","item_id":"x","delta":"H"}`, `{"type":"response.output_text.delta","item_id":"y","delta":"i"}`, completed), hi},
		{"unknown events, items and fields are skipped", sse(created,
			`{"type":"response.output_item.added","output_index":1,"item":{"type":"web_search_call","id":"ws_1"}}`,
			`{"type":"response.web_search_call.searching","output_index":1}`, `{"type":"keepalive"}`, `{}`, `7`, textHi,
			`{"type":"response.output_item.done","output_index":1,"item":{"type":"web_search_call","id":"ws_1"}}`, completed), hi},
		{"comments, CRLF and a missing space change nothing",
			": OPENROUTER PROCESSING\r\n\r\nevent: response.output_text.delta\r\ndata:" + textHi + "\r\n\r\ndata:\r\n\r\ndata:" + completed, hi},
		{"a type that only the event line tells is taken", "event: response.output_text.delta\ndata: {\"delta\":\"Hi\"}\n\n" + sse(completed, "[DONE]"), hi},
		{"a refusal is no text", sse(`{"type":"response.refusal.delta","output_index":0,"content_index":0,"delta":"No"}`,
			`{"type":"response.refusal.done","output_index":0,"content_index":0,"refusal":"No."}`, completed),
			answered{refusal: "No.", finish: events.FinishStop, word: "completed"}},
		{"reasoning and its summary are distinguished", sse(
			`{"type":"response.reasoning_text.delta","output_index":0,"content_index":0,"delta":"raw"}`,
			`{"type":"response.reasoning_summary_text.delta","output_index":1,"summary_index":0,"delta":"A"}`,
			`{"type":"response.reasoning_summary_part.done","output_index":1,"summary_index":1,"part":{"type":"summary_text","text":"B"}}`, completed),
			answered{reasoning: "raw", summary: "AB", finish: events.FinishStop, word: "completed"}},
		{"a summary that only the done item holds is not lost", sse(thought, textHi, completed),
			answered{text: "Hi", summary: "AB", finish: events.FinishStop, word: "completed"}},
	}
}

func endShapes() []shape {
	const incomplete = `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`
	const half = `{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"call_1","name":"add","arguments":"{\"x\":","status":"incomplete"}}`
	const nested = `{"type":"error","error":{"type":"server_error","code":"server_error","message":"went wrong"}}`
	failed := answered{text: "Hi", finish: events.FinishError, class: events.ErrOverloaded, message: "went wrong"}
	failedWord := failed
	failedWord.word = "failed"
	return []shape{
		{"an answer that ran into its length says so", sse(textHi, incomplete), answered{text: "Hi", finish: events.FinishLength, word: "incomplete"}},
		{"a call that ran into the length may not run", sse(callAdded, argsHalf, half, incomplete), answered{calls: `call_1 add({"x":)!`, finish: events.FinishLength, word: "incomplete"}},
		{"a call without arguments that ran into the length may not run",
			sse(callAdded, `{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"call_1","name":"add","arguments":"","status":"incomplete"}}`, incomplete),
			answered{calls: `call_1 add()!`, finish: events.FinishLength, word: "incomplete"}},
		{"a filter is no length", sse(textHi, `{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}`), answered{text: "Hi", finish: events.FinishContentFilter, word: "incomplete"}},
		{"the status overrides the name of the event", sse(textHi, `{"type":"response.completed","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`), answered{text: "Hi", finish: events.FinishLength, word: "incomplete"}},
		{"an answer without a terminal event was cut", sse(textHi), answered{text: "Hi", finish: events.FinishError, class: events.ErrCut, message: "cut", cut: true}},
		{"a flat error event is the end", sse(textHi, `{"type":"error","code":"server_error","message":"went wrong","param":null}`), failed},
		{"a nested error event is the end", sse(textHi, nested), failed},
		{"a failure that follows the error event gives the word", sse(textHi, nested, `{"type":"response.failed","response":{"status":"failed","error":{"code":"other","message":"less"}}}`), failedWord},
		{"a failure says why", sse(textHi, `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"went wrong"}}}`), failedWord},
		{"a failure without a reason is one", sse(`{"type":"response.failed","response":{}}`), answered{finish: events.FinishError, word: "failed", class: events.ErrInternal, message: "without a reason"}},
		{"an error object without a type is an error", sse(textHi, `{"error":{"message":"went wrong","code":"server_error"}}`), failed},
		{"an error event that is no JSON is an error", "event: error\ndata: it broke\n\n", answered{finish: events.FinishError, class: events.ErrInternal, message: "it broke"}},
		{"llama.cpp's error field is an error", sse(textHi) + "error: {\"code\":500,\"message\":\"went wrong\",\"type\":\"server_error\"}\n\n", failed},
		{"an error that a gateway glued to half an event is an error", sse(textHi, `{"type":"response.output_te{"error":{"code":"server_error","message":"went wrong"}}`),
			answered{text: "Hi", finish: events.FinishError, class: events.ErrOverloaded, message: "went wrong", cut: true}},
		{"a payload that is no JSON is shown", sse(textHi, `{"type":"resp`), answered{text: "Hi", finish: events.FinishError, class: events.ErrCut, message: `{"type":"resp`, cut: true}},
		{"an empty body is an error", "", answered{finish: events.FinishError, class: events.ErrCut, message: "empty", cut: true}},
		{"a body of keep-alives is an error", ": ping\n\n", answered{finish: events.FinishError, class: events.ErrCut, message: "no event", cut: true}},
		{"a JSON error in place of a stream is an error", `{"error":{"message":"went wrong","code":"server_error"}}`, answered{finish: events.FinishError, class: events.ErrOverloaded, message: "went wrong", cut: true}},
		{"a web page in place of a stream is an error", "\n<html><body>Log in", answered{finish: events.FinishError, class: events.ErrInvalidRequest, message: "web page", cut: true}},
		{"a JSON list in place of a stream is an error", `[{"error":{"message":"went wrong","code":"server_error"}}]`, answered{finish: events.FinishError, class: events.ErrOverloaded, message: "went wrong", cut: true}},
		{"a whole response in place of a stream is the answer", `{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]},{"type":"function_call","call_id":"call_1","name":"add","arguments":"{}"}]}`,
			answered{text: "Hi", calls: "call_1 add({})", finish: events.FinishToolCalls, word: "completed"}},
		{"a whole response that does not tell its status is whole", `{"output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}`, answered{text: "Hi", finish: events.FinishStop}},
		{"a whole response still in the making was cut", `{"status":"in_progress","output":[]}`, answered{finish: events.FinishError, class: events.ErrCut, message: "cut", cut: true}},
	}
}
