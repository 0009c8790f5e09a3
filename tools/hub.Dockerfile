# A handout as an image for JupyterHub, or for a room of computers:
#
#   docker build -t pretrained-weights -f tools/hub.Dockerfile ../handout
#   docker run --rm -p 8888:8888 pretrained-weights jupyter lab --ip 0.0.0.0    # without a hub
#
# The folder that is built from is a handout, as it was exported and without a .venv, so no solution is in the image. Each student's lessons lie in their home.
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 WORKBOOK_PROGRESS=/home/student/.progress
RUN useradd --create-home --uid 1000 student

COPY . /opt/workbook
WORKDIR /opt/workbook
# CPU wheels of PyTorch, without CUDA
RUN pip install --no-deps --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch torchvision
RUN pip install --constraint constraints.txt --editable . jupyterhub

USER student
WORKDIR /home/student
# made at each start, for a hub puts a volume in the place of the home
ENTRYPOINT ["sh", "-c", "mkdir -p ~/my_lessons && cd ~/my_lessons && python -m workbook.my_lessons && exec \"$@\"", "start"]
CMD ["jupyterhub-singleuser"]
