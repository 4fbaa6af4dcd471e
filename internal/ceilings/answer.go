package ceilings

// Answer counts one answer of a model. The zero value has counted nothing.
type Answer struct {
	Bytes, Calls, ArgumentBytes int64 // ArgumentBytes of the longest call
}

// Exceeded returns the error of the ceiling that an answer exceeds; nil when it
// exceeds none.
func (c Ceilings) Exceeded(a Answer) *Error {
	switch {
	case a.Calls > c.AnswerCalls:
		return &Error{CodeAnswerCalls, text("the answer makes more than %d tool calls, none of them is run: ask the model to make fewer at once, or raise answer_calls", c.AnswerCalls)}
	case a.ArgumentBytes > c.ArgumentBytes:
		return &Error{CodeArgumentBytes, text("the arguments of a tool call have more than %d bytes: ask the model to write less in one call, or raise argument_bytes", c.ArgumentBytes)}
	case a.Bytes > c.AnswerBytes:
		return &Error{CodeAnswerBytes, text("the answer has more than %d bytes and was stopped: the provider may send without end; ask for less, or raise answer_bytes", c.AnswerBytes)}
	}
	return nil
}
