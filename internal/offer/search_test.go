package offer_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
)

// many returns n tools of a server and three of none, sorted by name.
func many(n int) []events.ToolSpec {
	all := []events.ToolSpec{{Name: "calculate"}, {Name: "now"}}
	for i := range n {
		all = append(all, events.ToolSpec{Name: fmt.Sprintf("t%03d", i), Server: "a", Description: fmt.Sprintf("Does the thing number %d with invoices.", i)})
	}
	return append(all, events.ToolSpec{Name: "zoom"})
}

func names(tools []events.ToolSpec) []string {
	var all []string
	for _, t := range tools {
		all = append(all, t.Name)
	}
	return all
}

func TestToolsUpToTheBoundAreAllOffered(t *testing.T) {
	all := many(offer.MaxOffered - 3)
	if c := offer.Choose(all, []string{"t001"}); c.Searchable != 0 || !reflect.DeepEqual(c.Tools, all) {
		t.Errorf("%d are searchable, offered %v", c.Searchable, names(c.Tools))
	}
}

func TestOfMoreToolsASearchTheFirstAndTheLoadedOnesAreOffered(t *testing.T) {
	all := many(200)
	before := offer.Choose(all, nil)
	if before.Tools[0].Name != offer.FindTools || before.Searchable != len(all)-(len(before.Tools)-1) {
		t.Errorf("%d are searchable, offered %v", before.Searchable, names(before.Tools))
	}
	for _, name := range []string{"calculate", "now", "zoom", "t000"} {
		if !slices.Contains(names(before.Tools), name) {
			t.Errorf("%s is not offered", name)
		}
	}
	after := offer.Choose(all, []string{"t199", "t000", "gone", "t198", "t199"})
	if got, want := names(after.Tools), append(names(before.Tools), "t198", "t199"); !slices.Equal(got, want) {
		t.Errorf("with loaded tools %v, want %v: what was offered before comes first", got, want)
	}
	var every []string
	for _, s := range all {
		every = append(every, s.Name)
	}
	full := offer.Choose(all, every)
	if len(full.Tools) != offer.MaxOffered || full.Tools[offer.MaxOffered-1].Name != "t199" {
		t.Errorf("%d tools are offered, the last is %v", len(full.Tools), full.Tools[len(full.Tools)-1].Name)
	}
	if !slices.IsSortedFunc(all, func(a, b events.ToolSpec) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}) {
		t.Error("the tools given were changed")
	}
}

func TestASearchFindsAndLoads(t *testing.T) {
	all := append(many(200),
		events.ToolSpec{Name: "create_invoice", Server: "books", Description: "Writes a bill."},
		events.ToolSpec{Name: "sendMail", Server: "post", Description: "Sends a letter."})
	cases := []struct {
		query, first string
		loaded       int
	}{
		{"t150", "t150", 1},
		{"invoice", "create_invoice", 10},
		{"send a MAIL", "sendMail", 10},
		{"post", "sendMail", 1},
		{"letter", "sendMail", 1},
		{"no-such-it-xyz", "", 0},
		{"?!", "", 0},
	}
	for _, c := range cases {
		f := offer.Search(all, c.query)
		first := ""
		if len(f.Loaded) > 0 {
			first = f.Loaded[0].Name
		}
		if len(f.Loaded) != c.loaded || first != c.first || f.Note == "" {
			t.Errorf("%q: %d are loaded, the first is %q (%s), want %d and %q", c.query, len(f.Loaded), first, f.Note, c.loaded, c.first)
		}
	}
	if f := offer.Search(all, "invoices"); len(f.More) == 0 {
		t.Error("further matches are not named")
	}
}

func TestWhatIsLoadedFollowsFromTheTranscript(t *testing.T) {
	raw, err := json.Marshal(offer.Search(many(200), "t150"))
	if err != nil {
		t.Fatal(err)
	}
	result := func(name, text string, status events.Status) events.Message {
		return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Name: name, Text: text, Status: status}}}
	}
	got := offer.Loaded([]events.Message{
		{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartCall, Name: "now"}, {Kind: events.PartCall, Name: offer.FindTools}}},
		result("now", string(raw), events.StatusOK),
		result(offer.FindTools, "no JSON", events.StatusOK),
		result(offer.FindTools, string(raw), events.StatusFailed),
		result(offer.FindTools, string(raw), events.StatusOK),
	})
	if want := []string{"now", "t150"}; !slices.Equal(got, want) {
		t.Errorf("loaded %v, want %v", got, want)
	}
}
