#include "agent/helpers/aws/manual.hpp"

namespace lastcall::aws {

const char* const manual =
    R"(agent-lb-aws: takes Lastcall's tasks out of AWS's load balancers before they are stopped.

It isn't meant to be typed. The agent starts it, under the name agent-lb-elbv2 or agent-lb-elb, when
a task has one of these URLs in AGENT_LOAD_BALANCERS:

  elbv2:?target-group-arn=ARN[&target-id=ID][&port=N]
      a target group of an application or network load balancer
  elb:?name=NAME[&instance-id=ID]
      a classic load balancer

  target-id, instance-id   left out: this ECS task's address, or this instance's id
  port                     left out: every port under which the target is registered
  register=1               registers the task at its start, too

It then speaks the helper protocol (docs/helper-protocol.md): requests on stdin, answers on stdout,
one JSON value a line; text for people on stderr; the end of stdin ends it. Try it:

  echo '{"id":1,"do":"check","url":"elb:?name=web"}' | agent-lb-aws

usage: agent-lb-aws            serves requests
       agent-lb-aws watch      the same; `agent serve` asks it for spot notices and lifecycle hooks
       agent-lb-aws --help | --version

Environment, as AWS's own tools read it:
  credentials  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; else the profile
               (AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE); else the container
               (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, _FULL_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN,
               _TOKEN_FILE); else the instance
  region       the ARN's; else AWS_REGION, AWS_DEFAULT_REGION, the profile, the task, the instance
  endpoint     AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2, AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING,
               AWS_ENDPOINT_URL_AUTO_SCALING, AWS_ENDPOINT_URL; else the region's own
  metadata     ECS_CONTAINER_METADATA_URI_V4, AWS_EC2_METADATA_SERVICE_ENDPOINT,
               AWS_EC2_METADATA_DISABLED
  network      HTTPS_PROXY, NO_PROXY, AWS_CA_BUNDLE
)";

}  // namespace lastcall::aws
