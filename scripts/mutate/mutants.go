package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"regexp"
	"strings"
)

// mutant is a change of the code. It is made by insertions only: if mutant id is not active, the code does what it did.
type mutant struct {
	id            int
	file, where   string // where: the function
	line          int
	before, after string
	equivalent    bool

	start, end     int    // the region of the file
	prefix, suffix string // are inserted before and after it
	operator       int    // if not 0, the offset of an operator of one byte that a comma replaces
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d %s", m.file, m.line, m.text()[len(m.file)+1:])
}

// text describes the mutant. It does not change if lines are added to the file.
func (m *mutant) text() string {
	return fmt.Sprintf("%s %s: %s → %s", m.file, m.where, short(m.before), short(m.after))
}

func short(code string) string {
	runes := []rune(strings.Join(strings.Fields(code), " "))
	if len(runes) > 80 {
		return string(runes[:79]) + "…"
	}
	return string(runes)
}

// finder finds the mutants of a file.
type finder struct {
	*pkg
	file  *token.File
	src   []byte
	name  string
	where string
	skip  map[ast.Expr]bool // constants that make no difference
}

func (f *finder) offset(p token.Pos) int        { return f.file.Offset(p) }
func (f *finder) code(n ast.Node) string        { return f.between(n.Pos(), n.End()) }
func (f *finder) between(a, b token.Pos) string { return string(f.src[f.offset(a):f.offset(b)]) }

// active stands for the condition that a mutant is active. It must not occur in the code.
const active = "§"

// add adds a mutant of the region from a to b. The prefix may contain active.
func (f *finder) add(a, b token.Pos, after, prefix, suffix string) *mutant {
	m := &mutant{id: len(f.mutants) + 1, file: f.name, where: f.where, line: f.file.Line(a), before: f.between(a, b), after: after,
		start: f.offset(a), end: f.offset(b), suffix: suffix}
	m.prefix = strings.ReplaceAll(prefix, active, fmt.Sprintf("mutant__on(%d)", m.id))
	f.mutants = append(f.mutants, m)
	return m
}

// insteadOf replaces an expression of type bool.
func (f *finder) insteadOf(e ast.Expr, after string) {
	f.add(e.Pos(), e.End(), after, "(§ && ("+after+") || !§ && (", "))")
}

// negate negates a condition, except what expression negates: operators and constants.
func (f *finder) negate(e ast.Expr) {
	if f.info.Types[e].Value != nil {
		return
	}
	switch e := ast.Unparen(e).(type) {
	case *ast.BinaryExpr:
		return
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			f.add(e.Pos(), e.End(), f.code(e.X), "(§ != (", "))")
			return
		}
	}
	f.add(e.Pos(), e.End(), "!("+f.code(e)+")", "(§ != (", "))")
}

// remove removes the statements from a to b.
func (f *finder) remove(a, b ast.Node) {
	f.add(a.Pos(), b.End(), "(removed)", "if !§ { ", " }")
}

// visit adds the mutants of a node. The stack holds the nodes around it. It returns false if there are none inside.
func (f *finder) visit(n ast.Node, stack []ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		f.where = n.Name.Name
		if n.Recv != nil {
			f.where = strings.TrimLeft(f.code(n.Recv.List[0].Type), "*") + "." + f.where
		}
	case *ast.GenDecl:
		if n.Tok != token.VAR {
			return false
		}
		if len(stack) == 1 {
			f.where = n.Specs[0].(*ast.ValueSpec).Names[0].Name
		}
	case *ast.ArrayType: // its length is a constant
		return false
	case *ast.IfStmt:
		f.negate(n.Cond)
		if block, ok := n.Else.(*ast.BlockStmt); ok {
			f.body(block.List)
		}
	case *ast.ForStmt:
		if n.Cond != nil {
			f.negate(n.Cond)
		}
	case *ast.SwitchStmt:
		for _, c := range n.Body.List {
			for _, e := range c.(*ast.CaseClause).List {
				if n.Tag == nil {
					f.negate(e)
				}
			}
		}
	case *ast.BlockStmt:
		f.statements(n.List)
	case *ast.CaseClause:
		f.body(n.Body)
		f.statements(n.Body)
	case *ast.CommClause:
		f.body(n.Body)
		f.statements(n.Body)
	case *ast.ReturnStmt:
		f.returned(n, stack)
	case ast.Expr:
		return f.expression(n)
	}
	return true
}

// body removes all statements of a block at once, if it does not consist of one that is removed anyway.
func (f *finder) body(list []ast.Stmt) {
	switch {
	case len(list) == 0, len(list) == 1 && removable(list[0]):
	default:
		if _, ok := list[len(list)-1].(*ast.BranchStmt); !ok {
			f.remove(list[0], list[len(list)-1])
		}
	}
}

func removable(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ExprStmt, *ast.IncDecStmt, *ast.SendStmt, *ast.DeferStmt, *ast.GoStmt:
		return true
	case *ast.ReturnStmt:
		return len(s.Results) == 0
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE
	}
	return false
}

// statements removes each statement that another one does not need in order to compile, and swaps -= and +=, break and continue.
func (f *finder) statements(list []ast.Stmt) {
	for _, s := range list {
		if removable(s) {
			f.remove(s, s)
		}
		switch s := s.(type) {
		case *ast.AssignStmt:
			if swapped, ok := map[token.Token]string{token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+="}[s.Tok]; ok {
				after := f.code(s.Lhs[0]) + " " + swapped + " " + f.code(s.Rhs[0])
				f.add(s.Pos(), s.End(), after, "if § { "+after+" } else { ", " }")
			}
		case *ast.BranchStmt:
			if swapped, ok := map[token.Token]string{token.BREAK: "continue", token.CONTINUE: "break"}[s.Tok]; ok {
				after := swapped + strings.TrimPrefix(f.code(s), s.Tok.String())
				f.add(s.Pos(), s.End(), after, "if § { "+after+" }; ", "")
			}
		}
	}
}

// returned replaces each result by the zero value of its type.
func (f *finder) returned(n *ast.ReturnStmt, stack []ast.Node) {
	var zeros []string
	for i := len(stack) - 1; zeros == nil && i >= 0; i-- {
		var t *ast.FuncType
		switch fn := stack[i].(type) {
		case *ast.FuncDecl:
			t = fn.Type
		case *ast.FuncLit:
			t = fn.Type
		default:
			continue
		}
		if t.Results == nil {
			return
		}
		for _, field := range t.Results.List {
			for range max(1, len(field.Names)) {
				zeros = append(zeros, f.zero(field.Type))
			}
		}
	}
	if len(n.Results) == 1 && len(zeros) > 1 { // a call with several results
		f.add(n.Pos(), n.End(), "return "+strings.Join(zeros, ", "), "if § { return "+strings.Join(zeros, ", ")+" }; ", "")
		return
	}
	failing := f.failing(n)
	for i, e := range n.Results {
		if failing && i < len(n.Results)-1 && f.info.Types[e].Value != nil {
			f.skip[e] = true
			continue
		}
		if zeros[i] == "false" { // a bool
			f.negate(e)
			continue
		}
		if code := f.code(e); code == zeros[i] || strings.HasSuffix(code, "{}") || f.isZero(e) {
			continue
		}
		var after []string
		for k, e := range n.Results {
			after = append(after, f.code(e))
			if k == i {
				after[k] = zeros[k]
			}
		}
		text := "return " + strings.Join(after, ", ")
		f.add(n.Pos(), n.End(), text, "if § { "+text+" }; ", "")
	}
}

// isZero reports whether an expression is the constant 0.
func (f *finder) isZero(e ast.Expr) bool {
	value := f.info.Types[e].Value
	return value != nil && value.Kind() == constant.Int && constant.Sign(value) == 0
}

var isError = regexp.MustCompile(`^(err|errors\.New\(.*|fmt\.Errorf\((?s:.*))$`)

// failing reports whether a return statement returns an error, or may do so. Then nobody uses constants beside it.
func (f *finder) failing(n *ast.ReturnStmt) bool {
	if len(n.Results) < 2 {
		return false
	}
	last := n.Results[len(n.Results)-1]
	return f.info.TypeOf(last).String() == "error" && isError.MatchString(f.code(last))
}

// zero returns the code of the zero value of a type.
func (f *finder) zero(t ast.Expr) string {
	code := f.code(t)
	if _, ok := f.info.TypeOf(t).(*types.TypeParam); ok {
		return "*new(" + code + ")"
	}
	switch u := f.info.TypeOf(t).Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Info()&types.IsString != 0:
			return `""`
		case u.Info()&types.IsBoolean != 0:
			return "false"
		}
		return "0"
	case *types.Struct, *types.Array:
		return "*new(" + code + ")"
	}
	return "nil"
}

var (
	boundary   = map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}
	logical    = map[token.Token]string{token.LAND: "||", token.LOR: "&&"}
	opposite   = map[token.Token]string{token.EQL: "!=", token.NEQ: "==", token.LSS: ">=", token.LEQ: ">", token.GTR: "<=", token.GEQ: "<"}
	arithmetic = map[token.Token]string{token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*"}
	functions  = map[token.Token]string{token.ADD: "mutant__add", token.SUB: "mutant__sub", token.MUL: "mutant__mul", token.QUO: "mutant__quo"}
)

// expression adds the mutants of an operator or a constant. It returns false if there are none inside.
func (f *finder) expression(e ast.Expr) bool {
	if value := f.info.Types[e].Value; value != nil {
		if !f.skip[e] {
			f.constant(e, value)
		}
		return false
	}
	n, ok := e.(*ast.BinaryExpr)
	if !ok {
		return true
	}
	with := func(operator string) string { return f.code(n.X) + " " + operator + " " + f.code(n.Y) }
	if operator, ok := boundary[n.Op]; ok {
		f.insteadOf(n, with(operator))
	}
	if operator, ok := opposite[n.Op]; ok {
		f.add(n.Pos(), n.End(), with(operator), "(§ != (", "))")
	}
	if operator, ok := logical[n.Op]; ok {
		f.insteadOf(n, "("+f.code(n.X)+") "+operator+" ("+f.code(n.Y)+")")
		f.negate(n.X)
		f.negate(n.Y)
	}
	if operator, ok := arithmetic[n.Op]; ok {
		if basic, ok := f.info.TypeOf(n).Underlying().(*types.Basic); ok && basic.Info()&types.IsNumeric != 0 {
			m := f.add(n.Pos(), n.End(), with(operator), functions[n.Op]+"(§, ", ")")
			m.operator = f.offset(n.OpPos)
		}
	}
	return true
}

// constant replaces an integer by zero, or zero by one, and negates true and false.
func (f *finder) constant(e ast.Expr, value constant.Value) {
	t := types.Default(f.info.TypeOf(e))
	switch value.Kind() {
	case constant.Bool:
		f.add(e.Pos(), e.End(), fmt.Sprint(!constant.BoolVal(value)), "(§ != (", "))")
	case constant.Int:
		if basic, ok := t.Underlying().(*types.Basic); !ok || basic.Info()&types.IsInteger == 0 {
			return
		}
		after := "0"
		if constant.Sign(value) == 0 {
			after = "1"
			if t.String() == "time.Duration" {
				after = "1e9" // a nanosecond makes no difference
			}
		}
		name := types.TypeString(t, func(p *types.Package) string {
			if p == f.types {
				return ""
			}
			return p.Name()
		})
		f.add(e.Pos(), e.End(), after, "mutant__int["+name+"](§, ", ", "+after+")")
	default: // other constants are not replaced
	}
}
