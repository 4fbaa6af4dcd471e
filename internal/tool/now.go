package tool

import (
	"cmp"
	"context"
	_ "embed" // the list of zones
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the rules of all zones, for images without any
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/parleybus/parley/internal/events"
)

// zoneList cannot be declared inside a function: go:embed wants a variable here.
//
//go:embed zones.txt
var zoneList string

// clock is the tool now.
type clock struct {
	now    func() time.Time
	offset *regexp.Regexp
	// zones maps a plain name ("europe/oslo", "oslo", "norway") to a zone.
	zones map[string]string
	names []string // the keys of zones, sorted
}

func newClock(now func() time.Time) *clock {
	c := &clock{
		now:    now,
		offset: regexp.MustCompile(`^(?:UTC|GMT)? ?([+-]\d{1,2})(?::?([0-5]\d))?$`),
		zones:  map[string]string{"utc": "UTC", "gmt": "UTC", "z": "UTC"},
	}
	var cities [][2]string
	for line := range strings.Lines(zoneList) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		zone, others, _ := strings.Cut(line, ": ")
		c.zones[plain(zone)] = zone
		cities = append(cities, [2]string{zone[strings.LastIndex(zone, "/")+1:], zone})
		for other := range strings.SplitSeq(others, ", ") {
			if other != "" {
				cities = append(cities, [2]string{other, zone})
			}
		}
	}
	for _, city := range cities {
		if key := plain(city[0]); c.zones[key] == "" {
			c.zones[key] = city[1]
		}
	}
	for name := range c.zones {
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	return c
}

// Spec implements [Tool].
func (c *clock) Spec() events.ToolSpec {
	return events.ToolSpec{
		Name: "now",
		Description: "Tells the current date, weekday and time in a time zone or city. Call it whenever the answer depends on today's date or the time; " +
			"call it several times to compare places.",
		Schema: json.RawMessage(`{
			"type": "object",
			"properties": {
				"timezone": {"type": "string", "maxLength": 100, "description": "an IANA time zone (Europe/Oslo), a large city (Oslo), or an offset (UTC+2); UTC when absent"}
			},
			"additionalProperties": false
		}`),
		Effect:    events.EffectPure,
		TimeoutMS: 10_000,
	}
}

// Run implements [Tool].
func (c *clock) Run(_ context.Context, in Input) (Result, error) {
	var args struct {
		Timezone string `json:"timezone"`
	}
	if err := in.Decode(&args); err != nil {
		return Result{}, err
	}
	zone, err := c.zone(args.Timezone)
	if err != nil {
		return Result{}, err
	}
	t := c.now().In(zone)
	name, offset := t.Zone()
	where := zone.String()
	if city := where[strings.LastIndex(where, "/")+1:]; city != where {
		where = strings.ReplaceAll(city, "_", " ")
	}
	if wanted := strings.TrimSpace(args.Timezone); c.zones[plain(wanted)] == zone.String() && !strings.Contains(wanted, "/") && wanted != "" {
		where = wanted
	}
	detail := zone.String()
	if !strings.HasPrefix(name, "+") && !strings.HasPrefix(name, "-") && name != detail {
		detail += ", " + name
	}
	return Result{Content: fmt.Sprintf("In %s it is %s (%s, %s, UTC%s).", where,
		t.Format("15:04 on Monday, 2 January 2006"), t.Format(time.RFC3339), detail, offsetText(offset))}, nil
}

func offsetText(seconds int) string {
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	return fmt.Sprintf("%s%02d:%02d", sign, seconds/3600, seconds%3600/60)
}

// zone returns the zone for a name written by a model or a person.
func (c *clock) zone(wanted string) (*time.Location, error) {
	wanted = strings.TrimSpace(wanted)
	if wanted == "" {
		return time.UTC, nil
	}
	if m := c.offset.FindStringSubmatch(strings.ToUpper(wanted)); m != nil {
		hours, err := strconv.Atoi(m[1])
		minutes, err2 := strconv.Atoi(cmp.Or(m[2], "0"))
		if err != nil || err2 != nil {
			return nil, Fail("%q is not an offset such as UTC+2 or UTC+05:30", wanted)
		}
		if m[1][0] == '-' {
			minutes = -minutes
		}
		if seconds := hours*3600 + minutes*60; hours >= -12 && hours <= 14 {
			return time.FixedZone("UTC"+offsetText(seconds), seconds), nil
		}
		return nil, Fail("the offset %q is out of range: from UTC-12 to UTC+14", wanted)
	}
	// "Oslo, Norway" is Oslo.
	city, _, _ := strings.Cut(wanted, ",")
	name := cmp.Or(c.zones[plain(wanted)], c.zones[plain(city)])
	if name == "" && strings.Contains(wanted, "/") {
		name = wanted // older names such as US/Pacific
	}
	if name != "" {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return nil, Fail("no time zone is known for %.100q%s; give an IANA name such as Europe/Oslo, a large city of the same time zone, or an offset such as UTC+2",
		wanted, c.suggest(plain(city)))
}

// suggest returns up to three zones with similar names.
func (c *clock) suggest(name string) string {
	if len(name) > 100 {
		return ""
	}
	name = name[strings.LastIndex(name, "/")+1:]
	best := max(2, len(name)/3)
	var found []string
	for d := 1; d <= best && len(found) < 3; d++ {
		for _, known := range c.names {
			if zone := c.zones[known]; distance(name, known) == d && !slices.Contains(found, zone) && len(found) < 3 {
				found = append(found, zone)
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return ": did you mean " + strings.Join(found, " or ") + "?"
}

// distance returns the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// plain normalizes names for comparison: lower case, without accents, spaces
// for underscores.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == '_':
			return ' '
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(strings.TrimSpace(name)))
}
