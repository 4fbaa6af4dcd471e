// Package parley is the client of a Parley deployment: it sends messages to LLM
// conversations, streams what happens in them, answers what waits for a person,
// and deletes them. A deployment is a NATS server with JetStream, an orchestrator
// and workers; `parley up` runs all of it on one machine, and package embedded in
// one process.
//
//	c, err := parley.Connect(ctx, parley.Config{})
//	conv := c.Conversation(parley.NewID())
//	turn, err := conv.Send(ctx, "What is 17% of 2,340?")
//	for e, err := range turn.Events(ctx) {
//		if text, ok := e.Body.(*parley.TextChunk); ok {
//			fmt.Print(text.Text)
//		}
//	}
//
// # Conversations
//
// A [Conversation] is an ordered log of events, named by a UUIDv7. Everybody who
// reads it sees the same events in the same order, live or years later:
// [Conversation.Events] starts at the beginning, after a [Cursor] or at a time,
// reads the log and then follows it, without gaps or duplicates, across lost
// connections. [Conversation.Watch] folds the log and returns the conversation's
// state each time that it changes. Token streams expire (after 7 days by default);
// inputs, decisions and results stay until the conversation is deleted.
//
// # Inputs
//
// Messages, settings, verdicts, cancellations and deletions are inputs: events in
// the log that the orchestrator answers there. [Conversation.Send] returns when
// the message is stored; from then on it is answered, whatever crashes, and only
// once. Closing a client or ending a context never stops a turn; [Turn.Cancel]
// does.
//
// # Errors
//
// Errors say what happened and what to do. [CodeOf] returns their code.
package parley
