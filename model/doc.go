// Package model serves models of your own to Parley's conversations, from any Go
// program. A [Provider] streams answers; [Serve] takes the generations that
// conversations request from their queue. To answer more at once, start the
// program again, anywhere.
//
//	echo := model.Func("echo", func(ctx context.Context, r model.Request, w *model.Writer) error {
//		w.Text("You said: " + r.Messages[len(r.Messages)-1].Parts[0].Text)
//		return nil
//	})
//	err := model.Serve(ctx, parley.Config{}, model.Served{Provider: echo, Model: "echo-1"})
//
// A conversation uses it with the model "echo/echo-1". See parley.WithModel.
//
// # Delivery
//
// A generation is handed to one program at a time. One that dies holds it for a few
// seconds, then another starts a new attempt: viewers see the first one superseded.
// An error of a provider before it wrote anything is retried where its class allows;
// after that the orchestrator decides on a new attempt.
package model
