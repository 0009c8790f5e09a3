"""What fits as it is, and what fits nothing."""

from situations import Situation, situation, tensors
from torchvision.models import resnet18, vgg11


@situation()
def it_loads_as_it_is() -> Situation:
    checkpoint = resnet18()
    return Situation(resnet18(), checkpoint.state_dict(), says=["it loads"], holds=tensors(checkpoint))


@situation()
def it_is_another_architecture() -> Situation:
    return Situation(
        resnet18(), vgg11().state_dict(), says=["another architecture"], holds=None, never=["it loads", "width"]
    )
