package events

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestEveryEventIsNamedLikeItsStruct(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range Prototypes() {
		name := reflect.TypeOf(e).Elem().Name()
		if e.Type() != name {
			t.Errorf("%s says its type is %s", name, e.Type())
		}
		if seen[name] {
			t.Errorf("%s is twice among the prototypes", name)
		}
		seen[name] = true
		if got := New(name); reflect.TypeOf(got) != reflect.TypeOf(e) {
			t.Errorf("New(%q) is a %T", name, got)
		}
	}
	if New("Later") != nil {
		t.Error("New of an unknown name is not nil")
	}
}

func TestEveryEventComesBackAsItWent(t *testing.T) {
	for _, e := range Prototypes() {
		t.Run(e.Type(), func(t *testing.T) {
			fill(t, reflect.ValueOf(e).Elem())
			raw, err := Append(nil, e)
			if err != nil {
				t.Fatal(err)
			}
			l, err := DecodeLine(raw)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(l.Event, e) {
				t.Errorf("%s\n got %+v\nwant %+v", raw, l.Event, e)
			}
			again, err := Append(nil, l.Event)
			if err != nil || string(again) != string(raw) {
				t.Errorf("encoded again as\n%s, %v\nwant\n%s", again, err, raw)
			}
		})
	}
}

func TestEveryEmptyEventComesBackAsItWent(t *testing.T) {
	for _, e := range Prototypes() {
		t.Run(e.Type(), func(t *testing.T) {
			raw, err := Append(nil, e)
			if err != nil {
				t.Fatal(err)
			}
			l, err := DecodeLine(raw)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Append(nil, l.Event)
			if err != nil || string(again) != string(raw) {
				t.Errorf("encoded again as\n%s, %v\nwant\n%s", again, err, raw)
			}
		})
	}
}

// fill sets every field to something that is not its zero value.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case json.RawMessage:
		v.SetBytes([]byte(`{"b":[1,"<&>"],"a":null}`))
		return
	case Line:
		raw := json.RawMessage(`{"type":"Resumed","turn":"t","at_ms":7,"later":1}`)
		v.Set(reflect.ValueOf(Line{Event: &Resumed{Turn: "t", AtMS: 7}, Raw: raw}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
		fill(t, v.Index(1))
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		fill(t, elem)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), elem)
	case reflect.String:
		v.SetString("<\"é\u2028\n>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 << 30)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1 << 62)
	case reflect.Float64:
		v.SetFloat(0.25)
	default:
		t.Fatalf("a field is a %s: teach fill to set it", v.Type())
	}
}

func TestAGenerationEndedIsReadUnderItsFormerName(t *testing.T) {
	for _, tc := range []struct {
		name, fields string
		want         int
	}{
		{"the name of today", `,"event_count":3`, 3},
		{"the former name", `,"events":3`, 3},
		{"the name of today counts where both are there", `,"events":4,"event_count":3`, 3},
		{"also when it is 0", `,"events":4,"event_count":0`, 0},
		{"neither", ``, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := DecodeLine([]byte(`{"type":"GenerationEnded","attempt":"a","index":2,"finish":"stop","terminated":true` + tc.fields + `}`))
			if err != nil {
				t.Fatal(err)
			}
			end := l.Event.(*GenerationEnded)
			if end.EventCount != tc.want || end.Attempt != "a" || end.Index != 2 || !end.Terminated {
				t.Errorf("%+v", end)
			}
			raw, err := Append(nil, end)
			if err != nil || strings.Contains(string(raw), `"events"`) {
				t.Errorf("it is written as %s, %v", raw, err)
			}
		})
	}
	for field, raw := range map[string]string{"events": `{"type":"GenerationEnded","index":0,"events":[]}`, "index": `{"type":"GenerationEnded","index":"0"}`} {
		if _, err := DecodeLine([]byte(raw)); err == nil || !strings.Contains(err.Error(), `event GenerationEnded: field "`+field+`": a whole number is expected`) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestAHookCallWritesTheTypeOfTheEventInIt(t *testing.T) {
	call := &HookCall{Hook: "h", When: HookAfter, Turn: "t", Answer: "<a>", TimeoutMS: 1, Ended: &TurnEnded{Turn: "t", Outcome: OutcomeFailed, Reason: "<b>", Steps: 1}}
	raw, err := Append(nil, call)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"HookCall","hook":"h","when":"after","conversation":"","turn":"t","answer":"<a>","timeout_ms":1,"ended":{"type":"TurnEnded","turn":"t","outcome":"failed","reason":"<b>","steps":1}}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	for _, text := range []string{want, strings.Replace(want, `"type":"TurnEnded",`, "", 1)} {
		l, err := DecodeLine([]byte(text))
		if err != nil || !reflect.DeepEqual(l.Event, call) {
			t.Errorf("%s\nis read as %+v, %v", text, l.Event, err)
		}
	}
}
