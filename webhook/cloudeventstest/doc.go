// Package cloudeventstest contains only tests. They check the events of package webhook and of the fake tenant with the SDK of
// the CloudEvents project, github.com/cloudevents/sdk-go/v2. The package is a module of its own, so that programs that import
// reloads do not depend on the SDK.
package cloudeventstest
