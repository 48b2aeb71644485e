package planfile

import (
	"strings"
	"testing"
)

// checkErrors checks the errors of a plan, which are the lines of want without the name of the file.
func checkErrors(t *testing.T, name, text, want string) {
	t.Helper()
	p, err := Parse("plan.yaml", []byte(text))
	if err == nil || p != nil {
		t.Errorf("%s: got plan %+v and error %v", name, p, err)
		return
	}
	want = "plan.yaml:" + strings.ReplaceAll(want, "\n", "\nplan.yaml:")
	if got := err.Error(); got != want {
		t.Errorf("%s\ngot  %s\nwant %s", name, got, want)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%s: the error contains the value of a variable: %v", name, err)
	}
}

const (
	empty   = "1:1: the file contains neither steps nor app IDs"
	neither = "1:1: the file must be a plan with the key steps, or a list of app IDs; a key is followed by a colon and a space"
)

func TestWrongDocuments(t *testing.T) {
	t.Parallel()
	const variables = "steps:\n- app: a\n  variables:\n    v: "
	for name, c := range map[string]struct{ text, want string }{
		"empty":                            {"", empty},
		"only comments":                    {"\uFEFF# steps: none\r\n\n", empty},
		"a comment after a line separator": {"\u2028# sales, board\n", empty},
		"only a marker":                    {"---\n", "2" + neither[1:]},
		"scalar":                           {"max-active:4", neither},
		"variables":                        {"TOKEN=s3cret\n", neither},
		"two documents":                    {"steps: [{app: a}]\n---\nsteps: [{app: b}]\n", "2:1: a second document begins here, but a plan is one document"},
		"wrong second":                     {"steps: [{app: a}]\n---\nsteps: [{app: b}\n", "3:1: the YAML is not valid here or in the block that begins here: did not find expected ',' or ']'"},
		"not UTF-8":                        {"steps:\n- app: é\xff\n", "2:9: the file is not valid UTF-8"},
		"UTF-16":                           {"\xff\xfea\x00", "1:1: the file is not valid UTF-8"},
		"control":                          {"a\nb\x1b[2J\n", "2:2: the character U+001B is not allowed"},
		"C1":                               {"a\u009b", "1:2: the character U+009B is not allowed"},
		"inner BOM":                        {"a\n\uFEFFb", "2:1: the character U+FEFF is not allowed"},

		"alias":          {variables + "*s3cret\n", "4:8: " + unsupported},
		"known alias":    {"steps:\n- &a {app: a}\n- *a\n", "2:3: " + unsupported + "\n3:3: " + unsupported},
		"anchor":         {variables + "&s3cret x\n", "4:8: " + unsupported},
		"tag":            {variables + "!s3cret\n", "4:8: " + unsupported},
		"core tag":       {variables + "!!str s3cret\n", "4:8: " + unsupported},
		"merge key":      {"steps:\n- app: a\n  <<: {weight: 2}\n", "3:3: " + unsupported},
		"merge":          {variables + "<<\n", "4:8: " + unsupported},
		"itself":         {"steps: &a\n- *a\n", "1:8: " + unsupported},
		"tagged key":     {"!!str steps: []\n", "1:1: " + unsupported},
		"complex key":    {"? [a, b]\n: c\n", "1:3: a key must be text; quote text that begins with { or ["},
		"null key":       {"steps:\n- app: a\n  variables: {~: s3cret}\n", "3:15: a key must be text; quote text that begins with { or ["},
		"same key":       {"rerun: 1\nsteps: [{app: a}]\nrerun: 1\n", `3:1: the key "rerun" was given before, in line 1`},
		"same variable":  {"steps:\n- app: a\n  variables: {v:s3cret, v:s3cret}\n", `3:25: the key "v…" was given before, in line 3`},
		"tab":            {"steps:\n\t- app: a\n", "2:1: the YAML is not valid: found character that cannot start any token"},
		"two colons":     {variables + "s3: cret\n", "4:1: the YAML is not valid: mapping values are not allowed in this context"},
		"quote":          {variables + "\"s3cret\n", "4:1: the YAML is not valid: found unexpected end of stream"},
		"percent":        {variables + "%s3cret\n", "4:1: the YAML is not valid: found character that cannot start any token"},
		"indentation":    {"steps:\n  - app: a\n - app: b\n", "3:1: the YAML is not valid here or in the block that begins here: did not find expected key"},
		"cut JSON":       {`{"steps":[{"app":"a"}`, "1:1: the YAML is not valid here or in the block that begins here: did not find expected ',' or ']'"},
		"list and plan":  {"a\nb: c\n", "2:1: the YAML is not valid: mapping values are not allowed in this context"},
		"list with word": {"a\n  b s3cret\n", "2:3: an entry must be an app ID without white space or invisible characters, got a scalar"},
	} {
		checkErrors(t, name, c.text, c.want)
	}
}

// Without aliases, a small file cannot become a large plan.
func TestAliasesAreNotExpanded(t *testing.T) {
	t.Parallel()
	text := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'm'; c++ {
		text += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+", ", 10) + "]\n"
	}
	_, err := Parse("plan.yaml", []byte(text))
	if err == nil || !strings.HasPrefix(err.Error(), "plan.yaml:1:4: "+unsupported) || strings.Count(err.Error(), "\n") != maxProblems {
		t.Errorf("got %v", err)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	largest := "a\n" + strings.Repeat("#", MaxSize-2)
	if _, err := Parse("plan.yaml", []byte(largest)); err != nil {
		t.Error(err)
	}
	_, err := Parse("plan.yaml", []byte(largest+"#"))
	if err == nil || err.Error() != "plan.yaml: the file has more than 10 MB" {
		t.Errorf("got %v", err)
	}
	for name, text := range map[string]string{
		"nested lists":    strings.Repeat("[", 20_000),
		"nested mappings": strings.Repeat("{a: ", 20_000),
		"unknown keys":    "steps: [{app: a}]\n" + manyLines(20_000, "k%d: 1\n"),
		"wrong names":     "steps: [{app: a, variables: {" + manyLines(20_000, "v%d: [],") + "}}]",
		"unknown steps":   "steps: [{app: a, after: [" + manyLines(5_000, "step %d,") + "]}]",
	} {
		if _, err := Parse("plan.yaml", []byte(text)); err == nil || len(err.Error()) > 4000 {
			t.Errorf("%s: got %.200v", name, err)
		}
	}
}
