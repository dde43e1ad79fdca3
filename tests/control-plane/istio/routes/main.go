// Prints the routes that istiod would send to a sidecar in a namespace for a port, as JSON: what its caller's proxy does.
//
//	routes ADDRESS NAMESPACE PORT
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	_ "istio.io/istio/pkg/config/xds" // Every type that can stand in an answer.
)

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: routes ADDRESS NAMESPACE PORT"))
	}
	address, namespace, port := os.Args[1], os.Args[2], os.Args[3]
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	fail(err)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	fail(err)
	metadata, err := structpb.NewStruct(map[string]any{"NAMESPACE": namespace, "ISTIO_VERSION": "65536.65536.65536"})
	fail(err)
	fail(stream.Send(&discovery.DiscoveryRequest{
		Node: &core.Node{
			Id:       fmt.Sprintf("sidecar~127.0.0.1~probe.%s~%s.svc.cluster.local", namespace, namespace),
			Metadata: metadata,
		},
		TypeUrl:       "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
		ResourceNames: []string{port},
	}))
	answer, err := stream.Recv()
	fail(err)
	text, err := protojson.Marshal(answer)
	fail(err)
	fmt.Println(string(text))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "routes:", err)
		os.Exit(1)
	}
}
