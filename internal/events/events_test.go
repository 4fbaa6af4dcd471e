package events

import (
	"encoding/json"
	"reflect"
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
