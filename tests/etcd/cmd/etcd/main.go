// The etcd server of the lab's tests: go.etcd.io/etcd/server/v3 holds it as a package without a main program.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
