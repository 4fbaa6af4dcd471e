package gemini

import "strings"

// Bodies in the shapes that the API and gateways to it send, written after the sources
// of the package and the issues that the tests name.

func sse(payloads ...string) string {
	return "data: " + strings.Join(payloads, "\r\n\r\ndata: ") + "\r\n\r\n"
}

// says is a chunk with parts; more follows the candidate's content.
func says(parts, more string) string {
	return `{"candidates":[{"content":{"parts":[` + parts + `],"role":"model"}` + more + `,"index":0}],"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9},"modelVersion":"gemini-test","responseId":"r1"}`
}

func text1(s string) string { return says(`{"text":"`+s+`"}`, "") }

const (
	stop   = `,"finishReason":"STOP"`
	signed = `"thoughtSignature":"c2ln"`
	add    = `{"functionCall":{"id":"c1","name":"add","args":{"b":12345678901234567890,"a":1}},` + signed + `}`
	now    = `{"functionCall":{"name":"now","args":{}}}`
	counts = `"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":22,"cachedContentTokenCount":4,"thoughtsTokenCount":7}`
)

// ending is a last chunk without content.
func ending(reason string) string {
	return `{"candidates":[{"content":{"role":"model"},"finishReason":"` + reason + `","index":0}],` + counts + `,"modelVersion":"gemini-test","responseId":"r1"}`
}

func fixtures() map[string]string {
	return map[string]string{
		"text":                         sse(text1("Grüße, "), text1("東京"), says(`{"text":"!"}`, stop)),
		"thoughts, text and two calls": sse(says(`{"text":"Let me ","thought":true}`, ""), says(`{"text":"see.","thought":true}`, ""), text1("I add."), says(add+","+now, ""), ending("STOP")),
		"a signature in the last part": sse(text1("a"), text1("b"), says(`{"text":"",`+signed+`}`, stop)),
		"a signature beside a text":    sse(text1("a"), says(`{"text":"b",`+signed+`}`, ""), text1("c"), ending("STOP")),
		"parts of other kinds":         sse(text1("a"), says(`{"executableCode":{"language":"PYTHON","code":"1"}}`, ""), says(`{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}`, ""), text1("b"), ending("STOP")),
	}
}
