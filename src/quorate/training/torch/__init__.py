"""Our own trainers: detectors of transformers and torchvision, trained in torch.

In the order to read: `samples` are the pictures and what is on them; `learner` is what the loop
asks of a model, `detr` and `torchvision` are the two kinds; `loop` trains, `checkpoints` is what it
goes on from, `events` what it tells; `agreement` measures; `train` is all of it, as the trainer
contract has it.
"""
