package events

// Decisive reports whether an event on a lane of answers or of calls may lead to a
// decision. Chunks do not, but the end of a call's arguments does: the call may start
// early. On a call's lane it may be what an idle conversation waits for: an external
// result, or the question of the next attempt at a call whose worker died.
func Decisive(e Event) bool {
	switch e.(type) {
	case *GenerationEnded, *ToolCallEnd, *ToolResult, *QuestionAsked, *Claim:
		return true
	}
	return false
}
