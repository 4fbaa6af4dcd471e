// Package tool serves Go functions as tools for the models of a Parley
// deployment. A tool is a function with a struct of arguments; [Serve] connects
// to the deployment over NATS and runs calls until its context ends. To run
// more calls at once, start more instances of the program, on any host.
//
// # Delivery
//
// Calls of a tool wait in its queue, shared by all programs that serve it. The
// queue delivers a call to one of them at a time. If that program dies, another
// one takes the call over some seconds later. The tool's effect class says what
// happens then:
//
//   - [Pure]: the tool changes nothing. It runs again, as often as needed.
//   - [Idempotent]: a second run with the same [CallID] does no more than the
//     first. It is run again.
//   - [Once], the default: after it has started it is never retried
//     automatically. A call whose program died ends as unknown, and the model and
//     the person read that.
//
// So pure and idempotent tools run at least once, Once tools at most once. A
// call has exactly one result: the log refuses a second one.
//
// # Arguments
//
// The schema of the arguments is generated from the struct: names and optional
// fields from the tags of encoding/json (omitempty, omitzero or a pointer makes
// a field optional), descriptions from the tag jsonschema, the allowed values
// of a string or number from the tag enum, separated by commas. Arguments are
// validated against the schema before the function is called; invalid arguments
// never reach it.
//
//	type Args struct {
//		City string `json:"city" jsonschema:"name of the city"`
//		Unit string `json:"unit,omitempty" enum:"celsius,fahrenheit"`
//	}
//
// # Results
//
// The type of the function's result decides what the model reads:
//
//   - a string: the string unchanged;
//   - a struct or a map: compact JSON, which programs get as data too, checked
//     against a schema made from the type;
//   - []byte: text if it is valid UTF-8, else an attachment;
//   - [Attachment], []Attachment, [Result]: files and images in addition to a text;
//   - struct{}: a note that the call is done;
//   - other values: compact JSON.
//
// A result may be long: above 256 KB it is stored by reference, and the model
// reads its start and how to read the rest. [ResultBytes] sets the tool's own
// bound.
//
// # Errors
//
// The model reads every error. [Fail] makes an error with the author's own text
// for the model. [Retry] makes the worker retry the call later, if the effect
// class allows it. Of any other error the model reads at most 4 KB. A panic
// fails the call, not the program. An error ends the call, not the turn: the
// model continues with the error as the result.
//
// # Cancellation
//
// The context of a function is cancelled when a person stops the call or its
// turn, when its timeout expires ([Timeout], 2 minutes by default), and when
// the program stops and its drain time is over. A function that ignores its
// context keeps its slot, and its result is dropped or reported as its effect
// class says.
package tool
