"""Room that nobody uses: placement groups of Ray Train jobs that died.

Ray gives a group back when its job ends, and the job is the whole sweep. Ray Train's own helper misses those whose
workers did not get as far as to start (a node was lost, they did not find each other), and without a dashboard all of
them. The next run would wait for that room for ever, in silence.
"""

from __future__ import annotations

import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.util.placement_group import PlacementGroup, remove_placement_group


def free_orphans() -> int:
    """Give back the room of placement groups of this job whose actor is dead; how many there were."""
    mine = ray.get_runtime_context().get_job_id()
    found = [
        PlacementGroupTableData.FromString(one) for one in state._connect_and_get_accessor().get_placement_group_table()
    ]
    orphans = [
        one.placement_group_id
        for one in found
        if one.creator_actor_dead
        and not ray.ActorID(one.creator_actor_id).is_nil()  # Tune's own, made by no actor, count as if it were dead
        and one.creator_job_id.hex() == mine
        and one.state != PlacementGroupTableData.REMOVED
    ]
    for one in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(one)))
    return len(orphans)
