package parley

import (
	"context"
	"encoding/json"
	"strings"
)

// SendOption changes what [Conversation.Send] sends.
type SendOption func(*sending)

// sending is a message and the settings that go before it.
type sending struct {
	message  UserMessage
	settings Settings
	changed  bool // settings hold something
	files    []file
}

func configured(change func(*Settings)) SendOption {
	return func(s *sending) { change(&s.settings); s.changed = true }
}

// WithModel sets the conversation's model from this message on, as "provider/model" or
// the name of one of the deployment's [Pools]. The deployment's default is used when no
// message ever set one.
func WithModel(model string) SendOption {
	return configured(func(s *Settings) { s.Route = model })
}

// WithSystem sets the conversation's system prompt from this message on.
func WithSystem(prompt string) SendOption {
	return configured(func(s *Settings) { s.System = prompt })
}

// WithTools sets which tools the model is offered from this message on: names or
// patterns such as "get_*". Without any, none; all are offered when no message
// ever set them.
func WithTools(names ...string) SendOption {
	if len(names) == 0 {
		names = []string{"-"}
	}
	return configured(func(s *Settings) { s.Tools = names })
}

// WithParameters sets parameters of the model's answers from this message on, such as the
// effort of its reasoning, the temperature and the most tokens of an answer. A field
// that is not set changes nothing. A parameter that the model refuses is left out of the
// request, and GenerationEnded says so.
func WithParameters(p Parameters) SendOption {
	return configured(func(s *Settings) { s.Parameters = p })
}

// WithSchema sets a JSON Schema that the answers of the conversation's turns must fit
// from this message on: an answer without calls is one JSON object, and [Result.Text]
// has it. An answer that does not fit is asked for once more; then the turn fails with
// [FailureInvalidAnswer]. nil removes the schema.
func WithSchema(schema json.RawMessage) SendOption {
	if schema == nil {
		schema = json.RawMessage("null")
	}
	return configured(func(s *Settings) { s.AnswerSchema = schema })
}

// WithSettings merges settings into those of the conversation from this message on.
// It replaces what options before it set.
func WithSettings(settings Settings) SendOption {
	return configured(func(s *Settings) { *s = settings })
}

// WithArrival sets what happens to the message while a turn runs or waits, in place
// of the conversation's settings, which queue it by default.
func WithArrival(a Arrival) SendOption {
	return func(s *sending) { s.message.Arrival = a }
}

// WithFrom sets who sends the message, as the app knows them.
func WithFrom(name string) SendOption {
	return func(s *sending) { s.message.From = name }
}

// WithInputID sets the message's id, a UUID, in place of a new one. The same id is
// the same message for good: sending it again after an error does not repeat it.
func WithInputID(id string) SendOption {
	return func(s *sending) { s.message.ID = id }
}

// Send sends a message and returns when it is stored, which takes a round trip to
// the server. The turn that answers it runs from then on, whether or not anybody
// follows it. Settings of options are sent before it. Send fails with
// [CodeNotStored] when the message is not stored within 15 s, and with
// [CodeInvalid] when text is empty and no file is attached, or a file is nothing that
// models take.
func (v *Conversation) Send(ctx context.Context, text string, options ...SendOption) (*Turn, error) {
	s := sending{message: UserMessage{Text: text}}
	for _, o := range options {
		o(&s)
	}
	if strings.TrimSpace(text) == "" && len(s.files) == 0 {
		return nil, errorf(CodeInvalid, "the message is empty")
	}
	if err := v.attach(ctx, &s); err != nil {
		return nil, err
	}
	t := &Turn{conversation: v}
	var err error
	if s.changed {
		if t.settings, t.first, err = v.publish(ctx, &s.settings); err != nil {
			return nil, err
		}
	}
	var sequence uint64
	if t.input, sequence, err = v.publish(ctx, &s.message); err != nil {
		return nil, err
	}
	if t.first == 0 {
		t.first = sequence
	}
	return t, nil
}
