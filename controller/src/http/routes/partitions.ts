import { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import {
  Partition,
  PartitionInput,
  PartitionPolicyResource,
  ScalingPolicyResource,
} from "@strata/protocol/api/resources";
import type { z } from "zod";

import {
  putPartition,
  putPartitionPolicy,
  removePartition,
  removePartitionPolicy,
} from "../../operations/partitions.ts";
import { putScalingPolicy, removeScalingPolicy } from "../../operations/scaling-policies.ts";
import { listNodesOfPartition } from "../../store/nodes.ts";
import { latestPartitionDecision } from "../../store/partition-scalers.ts";
import {
  countProcessesOfPartition,
  getPartition,
  getPartitionPolicy,
  listPartitionPolicies,
  listPartitions,
  type PartitionRow,
} from "../../store/partitions.ts";
import { getScalingPolicy, listScalingPolicies } from "../../store/scaling-policies.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showPartition, showPartitionPolicy, showScalingPolicy } from "../views.ts";
import { addNamedResource } from "./named-resource.ts";

/** Partitions, and the policies of both levels. */
export function addPartitionRoutes(router: Router, services: Services): void {
  const { sql } = services.store;
  const show = (row: PartitionRow): z.infer<typeof Partition> =>
    showPartition(row, {
      nodes: listNodesOfPartition(sql, row.name),
      processes: countProcessesOfPartition(sql, row.name),
      message:
        row.policy === null ? null : (latestPartitionDecision(sql, row.name)?.reason ?? null),
    });
  addNamedResource(router, services, {
    path: "/v1/partitions",
    kind: "partition",
    writer: "operator",
    input: PartitionInput,
    resource: Partition,
    put: putPartition,
    get: getPartition,
    list: listPartitions,
    remove: removePartition,
    show,
  });
  addNamedResource(router, services, {
    path: "/v1/partition-policies",
    kind: "partition policy",
    writer: "operator",
    input: PartitionPolicyInput,
    resource: PartitionPolicyResource,
    put: putPartitionPolicy,
    get: getPartitionPolicy,
    list: listPartitionPolicies,
    remove: removePartitionPolicy,
    show: showPartitionPolicy,
  });
  addNamedResource(router, services, {
    path: "/v1/scaling-policies",
    kind: "scaling policy",
    writer: "operator",
    input: ScalingPolicyInput,
    resource: ScalingPolicyResource,
    put: putScalingPolicy,
    get: getScalingPolicy,
    list: listScalingPolicies,
    remove: removeScalingPolicy,
    show: showScalingPolicy,
  });
}
