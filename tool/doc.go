// Package tool makes Go functions into tools that the models of a Parley
// deployment call. A tool is a function with a struct of arguments; [Serve] joins
// the deployment over NATS and runs calls until its context ends. To run more
// calls at once, start the program again, anywhere.
//
// # Delivery
//
// Calls wait in a queue for each tool, shared by all programs that serve it. A
// call goes to one of them at a time; a program that dies holds it for a few
// seconds, then another takes it over. What happens then is the tool's effect
// class:
//
//   - [Pure]: it changes nothing. It is run again, as often as needed.
//   - [Idempotent]: a second run with the same [CallID] does no more than the
//     first. It is run again.
//   - [Once], which a tool is that says nothing: once it has begun it is never run
//     again on its own. A call whose program died in the middle ends as unknown,
//     and the model and the person read that.
//
// Pure and idempotent tools so run at least once, Once tools at most once. A call
// has one result, whatever happens: the log refuses a second.
//
// # Arguments
//
// The schema of the arguments is made from the struct: names and optional fields
// by the tags of encoding/json (omitempty, omitzero or a pointer makes a field
// optional), descriptions by the tag jsonschema, the allowed values of a string
// or number by the tag enum, comma between. Arguments are checked against it
// before the function is called; what does not fit never reaches it.
//
//	type Args struct {
//		City string `json:"city" jsonschema:"name of the city"`
//		Unit string `json:"unit,omitempty" enum:"celsius,fahrenheit"`
//	}
//
// # Results
//
// What the function returns decides what the model reads:
//
//   - a string: it as it is;
//   - a struct or a map: compact JSON, which programs get as data too, checked
//     against a schema made from the type;
//   - []byte: text where it is valid UTF-8, else an attachment;
//   - [Attachment], []Attachment, [Result]: files and images beside a text;
//   - struct{}: that it is done;
//   - other values: compact JSON.
//
// A result may be long: above 256 KB it is stored by reference and the model
// reads its beginning and how to read on. [ResultBytes] sets the tool's own bound.
//
// # Errors
//
// The model reads every error. [Fail] says in the author's words what to do
// about it. [Retry] has the call run again later, where the effect class allows.
// Of any other error the model reads at most 4 KB. A panic fails the call, not
// the program. An error ends the call, not the turn: the model goes on from it.
//
// # Cancellation
//
// The context of a function ends when a person stops the call or its turn, when
// its time is up ([Timeout], 2 minutes by default), and when the program stops
// and its time to drain is over. A function that ignores it holds its place, and
// what it returns after that is dropped or reported as the class says.
package tool
