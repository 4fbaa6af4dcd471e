package media

import (
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// Taken names what models take, for errors.
const Taken = "PNG, JPEG, GIF and WebP images, PDF and UTF-8 text files are taken"

// Check returns why a content cannot be attached to a message; nil if it can.
func Check(name string, data []byte) error {
	switch {
	case len(data) == 0:
		return fmt.Errorf("%s is empty: attach a file with content", shown(name))
	case Type(data) == "":
		return fmt.Errorf("%s is nothing that models take: %s; convert it first", shown(name), Taken)
	case len(data) > PerRequest:
		return fmt.Errorf("%s has %s, at most %s are taken: attach a smaller one", shown(name), Size(int64(len(data))), Size(PerRequest))
	}
	return nil
}

// CheckPart returns why a part of a message of the conversation cannot be used,
// as far as the message itself shows it; nil if it can.
func CheckPart(p *events.InputPart, conversation string) error {
	what := shown(p.Name)
	switch p.Kind {
	case events.PartText:
		if p.Object != nil || len(p.Data) > 0 {
			return fmt.Errorf("a part of kind text has its text in text, not in data or object: send it as kind file")
		}
		return nil
	case events.PartImage, events.PartFile:
	default:
		return fmt.Errorf("%s has the unknown kind %.40q: use text, image or file", what, p.Kind)
	}
	switch {
	case p.Object != nil && len(p.Data) > 0:
		return fmt.Errorf("%s has both data and object: send one of them", what)
	case p.Object != nil && (p.Object.Size <= 0 || !ownedBy(p.Object.Name, conversation)):
		return fmt.Errorf("%s refers to no object of this conversation: put its bytes into the object store under %s/SHA256, and refer to that", what, conversation)
	case p.Object != nil:
		return nil
	case len(p.Data) == 0:
		return fmt.Errorf("%s has no content: send data (base64) or a reference to an object", what)
	case len(p.Data) > MostInline:
		return fmt.Errorf("%s has %s in data, at most %s are taken there: put it into the object store and send its reference in object", what, Size(int64(len(p.Data))), Size(MostInline))
	}
	return CheckContent(p, p.Data)
}

// CheckContent returns why the content of a part, or its beginning, is not what the
// part says; nil if it is.
func CheckContent(p *events.InputPart, data []byte) error {
	kind := Kind(Type(data))
	switch {
	case kind == "":
		return fmt.Errorf("%s is nothing that models take: %s; convert it and send it again", shown(p.Name), Taken)
	case kind != p.Kind:
		return fmt.Errorf("%s has the kind %s, but its content is %s: send it as kind %s", shown(p.Name), p.Kind, Type(data), kind)
	}
	return nil
}

func ownedBy(object, conversation string) bool {
	return len(object) > len(conversation)+1 && object[:len(conversation)] == conversation && object[len(conversation)] == '/'
}

func shown(name string) string {
	if name = oneLine(name); name == "" {
		return "an attached part"
	}
	return name
}
