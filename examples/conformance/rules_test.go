package conformance_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// rule is one rule of the checklist, by its number.
type rule struct {
	number int
	says   string
	holds  func(s *stage, l language)
}

func rules() []rule {
	return []rule{
		{1, "the permissions of a tool-worker are sufficient", announces},
		{2, "a missing queue is created as the orchestrator creates it", makesTheQueue},
		{2, "an existing queue is not changed", leavesTheQueue},
		{3, "the tool is announced, and again before the announcement expires", announcesAgain},
		{4, "a job that runs longer than AckWait is delivered once", heartbeats},
		{5, "the job of a claim is fetched from the object store", fetchesClaims},
		{6, "a call that has its result is acknowledged and not run", leavesResults},
		{7, "a call that is over is acknowledged and not run", leavesStale},
		{7, "a call without a Decision is run regardless of Decisions", runsOutsideTurns},
		{8, "a start precedes the result, and each expects the last sequence", startsThenEnds},
		{9, "output is shown while the call runs, in order", showsOutput},
		{10, "a call has one result, and then its job is acknowledged", startsThenEnds},
		{11, "a failed tool sets the status, and the reason in the content", fails},
		{12, "a call that exceeds its time ends as timeout", timesOut},
		{13, "a Cancel of the turn ends the call as cancelled", cancels(func(c *call) cancel { return cancel{Turn: c.job.Turn} })},
		{13, "a Cancel of the call ends it as cancelled", cancels(func(c *call) cancel { return cancel{Call: c.job.Call} })},
		{13, "a Cancel of everything ends the call as cancelled", cancels(func(c *call) cancel { return cancel{Turn: c.job.Turn, Scope: "all"} })},
		{13, "a Cancel of something else, or that names nothing, does not end the call", ignoresOthers},
		{14, "a Decision without the call ends it as cancelled", heedsDecisions},
		{15, "a call that may not be run again ends as unknown when its worker died", neverTwice},
		{16, "a worker that lost the lane writes no more", yields},
		{17, "a call that was started a hundred times ends as failed", givesUp},
		{18, "a job is handed back at once when its worker gets a stop signal", handsBack},
		{18, "a call that may not be run again ends as unknown when its worker gets a stop signal", endsOnce},
		{19, "a worker that gets a stop signal withdraws its announcement and exits with 0", leaves},
		{20, "a job of a worker that was killed is run by another, as another attempt", takesOver},
		{21, "a job that another worker has started is left to it while it is present", leavesRunning},
		{21, "a job that another worker has handed back is taken at once", takesReleased},
	}
}

func TestWorkersFollowTheChecklist(t *testing.T) {
	t.Parallel()
	for _, l := range languages(t) {
		t.Run(l.name, func(t *testing.T) {
			for _, r := range rules() {
				t.Run(strconv.Itoa(r.number)+": "+r.says, func(t *testing.T) {
					t.Parallel()
					r.holds(newStage(t, l.also...), l)
				})
			}
		})
	}
}

// checklist returns the numbers of the list at the end of the document.
func checklist(t *testing.T) []int {
	t.Helper()
	text, err := os.ReadFile("../../docs/tool-workers.md")
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`(?m)^## Checklist$`).FindIndex(text)
	if at == nil {
		t.Fatal("docs/tool-workers.md has no section Checklist")
	}
	var numbers []int
	for _, m := range regexp.MustCompile(`(?m)^(\d+)\. `).FindAllSubmatch(text[at[1]:], -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

func TestEveryRuleOfTheChecklistIsTested(t *testing.T) {
	var tested []int
	for _, r := range rules() {
		tested = append(tested, r.number)
	}
	if got, want := slices.Compact(tested), checklist(t); !slices.Equal(got, want) {
		t.Errorf("rules %v are tested, the checklist has %v", got, want)
	}
}
