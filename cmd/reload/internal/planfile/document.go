package planfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the size of the largest plan in bytes.
const MaxSize = 10_000_000

// document is the text of a plan as YAML nodes, which have positions.
type document struct {
	name     string
	root     *yaml.Node                    // a mapping or a sequence
	instance any                           // the same as a JSON value, for the schema
	keys     map[*yaml.Node]map[string]int // where each key of a mapping is in its Content
	problems []problem
}

// newDocument parses YAML, JSON or a plain list.
func newDocument(name string, text []byte) (*document, error) {
	d := &document{name: name, keys: map[*yaml.Node]map[string]int{}}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: the file has more than %d MB", name, MaxSize/1_000_000)
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if d.checkCharacters(text); len(d.problems) > 0 {
		return nil, d.err()
	}
	var list bool
	if d.root, list = plainList(string(text)); !list {
		d.parse(text)
	} else if len(d.root.Content) == 0 {
		d.reportAt(1, 1, "the file contains neither steps nor app IDs")
	}
	if len(d.problems) == 0 {
		d.instance = d.value(d.root)
	}
	return d, d.err()
}

// checkCharacters reports the first character that YAML does not allow, because the YAML parser does not say where it is.
func (d *document) checkCharacters(text []byte) {
	line, column := 1, 1
	for i, size := 0, 0; i < len(text); i += size {
		var r rune
		r, size = utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			d.reportAt(line, column, "the file is not valid UTF-8")
			return
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85, r == 0xfeff, r == 0xfffe, r == 0xffff:
			d.reportAt(line, column, fmt.Sprintf("the character %U is not allowed", r))
			return
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
}

// plainList returns the lines of a plain list of app IDs as a YAML sequence. ok is false if the text is not a plain list:
// every plan contains a character that a plain list does not contain.
func plainList(text string) (list *yaml.Node, ok bool) {
	list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: 1, Column: 1}
	line := 0
	for s := range strings.Lines(text) {
		line++
		entry := strings.TrimSpace(comment.ReplaceAllString(s, ""))
		if strings.HasPrefix(entry, "-") || strings.ContainsAny(entry, "=:{}[]\"',&*!|>%@`") {
			return nil, false
		}
		if entry != "" {
			column := 1 + utf8.RuneCountInString(s[:strings.Index(s, entry)])
			list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: entry, Line: line, Column: column})
		}
	}
	return list, true
}

var comment = regexp.MustCompile(`(?:^|\s)#.*`)

// parse parses text, which must be one YAML document.
func (d *document) parse(text []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		d.reportAt(1, 1, "the file contains neither steps nor app IDs")
		return
	} else if err != nil {
		d.reportSyntax(err, text)
		return
	}
	d.root = first.Content[0]
	if err := decoder.Decode(&second); err == nil {
		d.report(&second, "a second document begins here, but a plan is one document")
	} else if !errors.Is(err, io.EOF) {
		d.reportSyntax(err, text)
	}
	if d.root.Kind != yaml.MappingNode && d.root.Kind != yaml.SequenceNode {
		d.report(d.root, "the file must be a plan with the key steps, or a list of app IDs; a key is followed by a colon and a space")
	}
}

var syntaxError = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line ([0-9]+): )?(.*)$`)

// reportSyntax reports an error of the YAML parser, which says neither in which column it is nor, sometimes, in which line.
func (d *document) reportSyntax(err error, text []byte) {
	match := syntaxError.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(match[1]) // 0 without a line
	problem, where := match[2], ""
	if anchor, ok := strings.CutPrefix(problem, "unknown anchor '"); ok {
		anchor, _, _ = strings.Cut(anchor, "'")
		before, _, _ := bytes.Cut(text, []byte("*"+anchor))
		lastLine := before[bytes.LastIndexByte(before, '\n')+1:]
		d.reportAt(1+bytes.Count(before, []byte("\n")), 1+utf8.RuneCount(lastLine), unsupported)
		return
	}
	if strings.HasPrefix(problem, "did not find expected") {
		line++ // such a line counts from 0
		where = " here or in the block that begins here"
	}
	lines := 1 + bytes.Count(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	d.reportAt(min(line, lines), 1, "the YAML is not valid"+where+": "+problem)
}

// isUnsupported reports whether n uses a feature of YAML that a plan does not need. Without aliases, a small file cannot become
// a large plan.
func isUnsupported(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || n.Tag == "!!merge"
}

const unsupported = "anchors (&), aliases (*), merge keys (<<) and tags (!) are not supported; quote text that begins with such a character"

// value returns a node as a JSON value. It reports what JSON does not have.
func (d *document) value(n *yaml.Node) any {
	if isUnsupported(n) {
		d.report(n, unsupported)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.mapping(n)
	case yaml.SequenceNode:
		items := make([]any, len(n.Content))
		for i, item := range n.Content {
			items[i] = d.value(item)
		}
		return items
	}
	return scalar(n)
}

// mapping returns a mapping as a JSON object. It reports keys that are not text and keys that are given twice.
func (d *document) mapping(n *yaml.Node) map[string]any {
	members := map[string]any{}
	keys := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		first, again := keys[key.Value]
		switch {
		case isUnsupported(key):
			d.report(key, unsupported)
		case key.Kind != yaml.ScalarNode || key.Tag == "!!null":
			d.report(key, "a key must be text; quote text that begins with { or [")
		case again:
			d.report(key, "the key %s was given before, in line %d", quoteKey(key.Value), n.Content[first].Line)
		default:
			keys[key.Value] = i
			members[key.Value] = d.value(n.Content[i+1])
		}
	}
	d.keys[n] = keys
	return members
}

// maxNumber is the length of the longest number. What is longer is text, so that its length counts.
const maxNumber = 64

// scalar returns a scalar as a JSON value.
func scalar(n *yaml.Node) any {
	var v any
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		if n.Decode(&v) == nil {
			return v
		}
	case "!!int", "!!float":
		if len(n.Value) > maxNumber || n.Decode(&v) != nil {
			break
		}
		if f, ok := v.(float64); !ok || !math.IsInf(f, 0) && !math.IsNaN(f) {
			return v
		}
	}
	return n.Value
}

// find returns the node at a location, which consists of keys and indexes. If there is none, it returns the last one on the
// way.
func (d *document) find(location ...string) *yaml.Node {
	n := d.root
	for _, at := range location {
		i := -1
		if key, ok := d.keys[n][at]; ok {
			i = key + 1
		} else if n.Kind == yaml.SequenceNode {
			i, _ = strconv.Atoi(at)
		}
		if i < 0 || i >= len(n.Content) {
			break
		}
		n = n.Content[i]
	}
	return n
}

// findKey returns the node of a key of mapping n.
func (d *document) findKey(n *yaml.Node, key string) *yaml.Node { return n.Content[d.keys[n][key]] }
