// Package suite runs containerd's own tests of snapshotters on ours, through its socket.
//
//	OVERLAYFS_PY=/path/to/overlayfs-py go test -v .
package suite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The suite leaves out renaming a directory for the names of some snapshotters. This is none of them.
const name = "overlayfs-py"

func TestSnapshotter(t *testing.T) {
	testsuite.SnapshotterSuite(t, name, start)
}

// start serves snapshots below root, and returns what talks to them and what ends it.
func start(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	socket := filepath.Join(root, "sock")
	arguments := []string{"snapshotter", "--address", socket, "--root", filepath.Join(root, "s")}
	if layers := os.Getenv("LAYERS"); layers != "" {
		arguments = append(arguments, "--layers", layers)
	}
	server := exec.Command(os.Getenv("OVERLAYFS_PY"), arguments...)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	if err := server.Start(); err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	stop := func() error {
		conn.Close()
		server.Process.Signal(os.Interrupt)
		return server.Wait()
	}
	client := api.NewSnapshotsClient(conn)
	deadline, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := client.Cleanup(deadline, &api.CleanupRequest{}, grpc.WaitForReady(true)); err != nil {
		stop()
		return nil, nil, fmt.Errorf("it does not answer: %w", err)
	}
	return proxy.NewSnapshotter(client, name), stop, nil
}
